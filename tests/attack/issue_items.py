"""Every weakness that an attack on the real server found, and the tests that fail where it is open again."""

ITEMS: dict[str, tuple[str, ...]] = {
    "sound of 8 and more channels ends the model's process": (
        "tests/attack/test_hostile_requests.py::test_nine_channels_are_served",
        "tests/attack/test_hostile_files.py::test_recordings_of_many_channels_are_heard",
        "tests/attack/test_hostile_files.py::test_planar_codecs_of_many_channels_are_heard",
        "tests/attack/test_hostile_files.py::test_more_channels_are_refused",
    ),
    "a crash in a decoder costs more than its request": (
        "tests/attack/test_hostile_requests.py::test_a_decoder_that_dies_costs_one_request",
    ),
    "a dead process of a model is not noticed": (
        "tests/server/test_faults.py::test_a_dead_process_of_a_model_ends_videos_and_server",
        "tests/server/test_faults.py::test_nobody_hangs_when_nobody_is_left_to_answer",
        "tests/server/test_faults.py::test_sigterm_right_after_a_death_drains_no_ghost",
        "tests/server/test_faults.py::test_restart_always_serves_again_on_the_same_ports",
    ),
    "one HTTP request ends tritonserver": (
        "tests/server/test_front.py::test_a_real_server_answers_probes_and_opens_no_other_http",
        "tests/server/test_front.py::test_bad_requests_are_refused_and_cost_nothing",
        "tests/attack/test_endpoints.py::test_http_serves_probes_only",
    ),
    "protocols that look into or change the server are open": (
        "tests/server/test_restriction.py::test_a_key_opens_what_is_closed",
        "tests/attack/test_endpoints.py::test_no_region_of_the_server_can_be_registered",
    ),
    "uploads are not limited and stay in memory": (
        "tests/attack/test_hostile_requests.py::test_large_uploads_are_refused_and_released",
    ),
    "INTERNAL instead of a named refusal": (
        "tests/attack/test_hostile_requests.py::test_key_frames",
        "tests/attack/test_hostile_requests.py::test_a_request_without_a_picture",
        "tests/attack/test_hostile_requests.py::test_portrait_crop_itself",
        "tests/attack/test_hostile_files.py::test_pictures",
        "tests/attack/test_hostile_files.py::test_videos",
        "tests/attack/test_random_requests.py::test_random_requests_are_served_or_refused_by_name",
    ),
    "messages repeat what was sent without bound": (
        "tests/attack/test_hostile_requests.py::test_texts_are_repeated_in_part",
        "tests/attack/test_hostile_files.py::test_what_comes_from_outside_is_cut_short",
    ),
    "refusals are slow": ("tests/attack/test_slow_refusals.py::test_refusals_take_little_processor_time",),
    "a time-out does not hold while every place is busy": (
        "tests/attack/test_hostile_requests.py::test_the_line_of_waiting_videos",
        "tests/runtime/test_places.py::test_a_time_out_holds_behind_one_without",
    ),
    "a start fails by chance": (
        "tests/server/test_faults.py::test_a_process_that_dies_while_a_model_loads_is_tried_again",
    ),
    "folders and shared memory of dead launchers stay": ("tests/server/test_workspace.py",),
    "a full /dev/shm or disk makes every request fail while all looks well": ("tests/server/test_shared_memory.py",),
    "videos cut by a stop do not say so": (
        "tests/server/test_faults.py::test_a_video_that_outlasts_the_exit_timeout_is_told_so",
    ),
    "a stop waits for unloading after videos were cut": (
        "tests/server/test_faults.py::test_a_stop_that_cut_videos_does_not_wait_for_unloading",
    ),
}
"""Tests by weakness: a file, or a test in it."""

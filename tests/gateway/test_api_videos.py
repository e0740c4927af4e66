"""Videos over HTTP: create, follow, download, delete."""

import io
import itertools
import struct
import time

import av
import httpx
import pytest
from sadtalker_gateway.options import known_to_client
from sadtalker_gateway.performance import SETTLE_SECONDS
from served import until
from talking_triton import EDGE, FACE, NO_FACE, inputs_of, talking_video


def decoded(mp4: bytes) -> tuple[list[float], list[float]]:
    """Return the times of all pictures and of all blocks of sound, in seconds."""
    times = []
    for kind in ("video", "audio"):
        with av.open(io.BytesIO(mp4)) as container:
            times.append([frame.time for frame in container.decode(**{kind: 0})])
    return times[0], times[1]


def test_text_becomes_a_video(gateway, triton):
    answer = gateway.http.post("/v1/videos", data={"prompt": "Hello there."}, files={"portrait": FACE})
    assert answer.status_code == 202, answer.text
    created = answer.json()
    assert (created["object"], created["model"], created["prompt"]) == ("video", "sadtalker", "Hello there.")
    video = gateway.finished(created)
    assert (video["status"], video["progress"], video["error"]) == ("completed", 100, None)
    assert video["size"] == f"{EDGE}x{EDGE}"
    pictures, _ = decoded(gateway.http.get(video["url"]).content)
    assert len(pictures) == pytest.approx(float(video["seconds"]) * 25)
    assert video["total_seconds"] >= video["first_fragment_seconds"] > 0
    (request,) = triton.requests
    assert inputs_of(request).keys() == {"image", "audio"}


def test_sentences_become_one_continuous_video(gateway, triton):
    prompt = "This is one. And here comes the second one! Is this the third? Yes, indeed it is; the fourth."
    video = gateway.http.post("/v1/videos", data={"prompt": prompt, "seed": "7"}, files={"portrait": FACE}).json()
    video = gateway.finished(video)
    pictures, sound = decoded(gateway.http.get(video["url"]).content)
    assert len(triton.requests) == 4
    steps = [later - earlier for earlier, later in itertools.pairwise(pictures)]
    assert steps == pytest.approx([0.04] * len(steps))
    steps = [later - earlier for earlier, later in itertools.pairwise(sound)]
    assert steps == pytest.approx([1024 / 48000] * len(steps), abs=1e-4)
    assert sound[-1] + 1024 / 48000 == pytest.approx(pictures[-1] + 0.04, abs=0.001)
    seeds = [inputs_of(request)["seed"][0] for request in triton.requests]
    assert seeds == [7, 8, 9, 10]


def test_every_option_reaches_the_server(gateway, triton):
    options = {
        "pose_style": "3", "still": "true", "expression_scale": "1.5", "yaw": "[[0, 0], [1, 12.5]]", "pitch": "4",
        "blink_times": "[0.5]", "size": "256x256", "crop": "full", "quality": "high", "seed": "5",
    }  # fmt: skip
    files = {"portrait": FACE, "speech": b"a recording", "pose_reference": b"a video"}
    answer = gateway.http.post("/v1/videos", data=options, files=files)
    assert answer.status_code == 202, answer.text
    gateway.finished(answer.json())
    names = inputs_of(triton.requests[0])
    assert names.keys() == {"image", "audio", "enhance", "pose_reference", *options} - {"quality"}
    assert (names["enhance"], names["pose_reference"], names["audio"]) == (b"gfpgan", b"a video", b"a recording")


def test_further_photos_of_the_person_reach_the_server_in_order(gateway, triton):
    files = [("portrait", FACE), ("speech", b"a recording"), ("photos", b"one"), ("photos", b"another")]
    answer = gateway.http.post("/v1/videos", files=files)
    assert answer.status_code == 202, answer.text
    gateway.finished(answer.json())
    request = triton.requests[0]
    index = [tensor.name for tensor in request.inputs].index("photos")
    assert request.inputs[index].shape == [1, 2]
    assert request.raw_input_contents[index] == b"\3\0\0\0one\7\0\0\0another"


@pytest.mark.parametrize(
    "fields, files, message",
    [
        ({"prompt": "Hi."}, {}, "portrait: expected a file or portrait_id, got neither"),
        ({}, {"portrait": FACE}, "expected prompt (text), speech (a recording), driving or idle; got none"),
        ({"prompt": "Hi."}, {"portrait": FACE, "speech": b"x"}, "expected prompt or speech, got both"),
        ({"prompt": "x" * 5001}, {"portrait": FACE}, "prompt: expected at most 5000 characters, got 5001"),
        ({"prompt": "Hi.", "yaw": "[["}, {"portrait": FACE}, "yaw: expected JSON"),
        ({"prompt": "Hi.", "size": "720x1280"}, {"portrait": FACE}, "size: expected an edge in pixels"),
        ({"prompt": "Hi."}, {"portrait": b""}, "portrait: expected the content of a picture, got 0 bytes"),
    ],
)
def test_bad_requests_say_what_was_expected(common, fields, files, message):
    answer = common.http.post("/v1/videos", data=fields, files=files or None)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"prompt": "Hi."}, "portrait: expected a picture with a face, got one without"),
        ({"prompt": "?! ...", "portrait": "face"}, "text: expected something to say"),
        ({"prompt": "Hi.", "voice": "nobody", "portrait": "face"}, "voice: expected an id of /v1/voices, got 'nobody'"),
        ({"prompt": "Hi.", "seed": str(2**70), "portrait": "face"}, "seed: expected a 64-bit integer"),
    ],
)
def test_errors_come_from_the_state_or_at_once_when_streaming(common, fields, message):
    image = FACE if fields.pop("portrait", None) else NO_FACE
    video = common.finished(common.http.post("/v1/videos", data=fields, files={"portrait": image}).json())
    assert video["status"] == "failed"
    assert video["error"]["code"] == "invalid_input"
    assert message in video["error"]["message"]
    assert common.http.get(f"/v1/videos/{video['id']}/content").status_code == 409
    answer = common.http.post("/v1/videos?stream=true", data=fields, files={"portrait": image})
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]


def test_a_stream_begins_before_the_video_is_complete(gateway, triton):
    triton.pace = 0.15
    fields = {"prompt": "Hello, this takes a while."}
    with gateway.http.stream("POST", "/v1/videos?stream=true", data=fields, files={"portrait": FACE}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "video/mp4"
        pieces = answer.iter_bytes()
        first = next(pieces)
        state = gateway.http.get(answer.headers["location"]).json()
        assert state["status"] == "in_progress"
        whole = first + b"".join(pieces)
    until(lambda: gateway.http.get(answer.headers["location"]).json()["status"] == "completed")
    assert gateway.http.get(answer.headers["location"] + "/content").content == whole


def test_content_grows_while_the_video_is_made(gateway, triton):
    triton.pace = 0.1
    video = gateway.http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE}).json()
    start = time.monotonic()
    with gateway.http.stream("GET", f"/v1/videos/{video['id']}/content") as answer:
        arrivals = [(time.monotonic() - start, piece) for piece in answer.iter_bytes()]
    assert b"".join(piece for _, piece in arrivals) == talking_video(50)
    assert arrivals[0][0] < arrivals[-1][0] - 0.3


def test_ranges_of_a_finished_video(common):
    video = common.finished(common.http.post("/v1/videos", data={"idle": "1"}, files={"portrait": FACE}).json())
    whole = talking_video(25)

    def get(value: str, **headers: str) -> httpx.Response:
        return common.http.get(video["url"], headers={"Range": value, **headers})

    for value, wanted in (("bytes=0-9", whole[:10]), ("bytes=100-", whole[100:]), ("bytes=-7", whole[-7:])):
        answer = get(value)
        assert (answer.status_code, answer.content) == (206, wanted)
    assert get("bytes=5-9").headers["content-range"] == f"bytes 5-9/{len(whole)}"
    assert get(f"bytes={len(whole)}-").status_code == 416
    assert get("bytes=9-5").status_code == 416
    assert get("bytes=0-1,4-5").content == whole
    etag = get("bytes=0-9").headers["etag"]
    assert get("bytes=0-9", **{"If-Range": etag}).status_code == 206
    assert get("bytes=0-9", **{"If-Range": '"other"'}).content == whole
    head = common.http.head(video["url"])
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole)))


def test_deleting_a_video_in_progress_stops_the_server(gateway, triton):
    triton.pace = 0.1
    video = gateway.http.post("/v1/videos", data={"idle": "10"}, files={"portrait": FACE}).json()
    until(lambda: gateway.http.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    answer = gateway.http.delete(f"/v1/videos/{video['id']}")
    assert answer.json() == {"id": video["id"], "object": "video.deleted", "deleted": True}
    assert triton.cancelled.wait(10)
    assert gateway.http.get(f"/v1/videos/{video['id']}").status_code == 404
    assert gateway.http.get(f"/v1/videos/{video['id']}/content").status_code == 404
    assert gateway.http.delete(f"/v1/videos/{video['id']}").status_code == 404


@pytest.mark.parametrize("pace", [0.1, 3])  # in mid-video, and before its first byte
def test_a_caller_who_leaves_stops_the_server(gateway, triton, pace):
    triton.pace = pace
    with httpx.Client(base_url=gateway.url, timeout=0.7) as caller:
        try:
            with caller.stream(
                "POST", "/v1/videos?stream=true", data={"idle": "10"}, files={"portrait": FACE}
            ) as answer:
                next(answer.iter_bytes())
        except httpx.TimeoutException:
            assert pace == 3
    assert triton.cancelled.wait(10)
    (video,) = gateway.http.get("/v1/videos").json()["data"]
    video = gateway.finished(video)
    assert (video["status"], video["error"]["code"]) == ("failed", "cancelled")


def test_a_batch_is_every_portrait_with_every_recording(gateway, triton):
    known = gateway.portrait(FACE + b"!")
    until(lambda: gateway.http.get(f"/v1/portraits/{known}/picture").status_code == 200)
    triton.requests.clear()
    files = [("portrait", FACE), ("speech", b"one"), ("speech", b"two")]
    answer = gateway.http.post("/v1/videos", data={"portrait_id": known}, files=files)
    assert answer.status_code == 202, answer.text
    videos = answer.json()["data"]
    assert len(videos) == 4
    assert all(gateway.finished(video)["status"] == "completed" for video in videos)
    pairs = {(inputs_of(request)["image"], inputs_of(request)["audio"]) for request in triton.requests}
    assert pairs == {(image, speech) for image in (FACE, FACE + b"!") for speech in (b"one", b"two")}
    page = gateway.http.get("/v1/videos?limit=3").json()
    assert (len(page["data"]), page["has_more"]) == (3, True)
    rest = gateway.http.get(f"/v1/videos?limit=3&after={page['last_id']}").json()
    assert (len(rest["data"]), rest["has_more"]) == (1, False)
    too_many = [("portrait", FACE)] * 33
    refused = gateway.http.post("/v1/videos", data={"prompt": "Hi."}, files=too_many)
    assert "expected at most 32 videos in one call, got 33" in refused.json()["error"]["message"]


def test_the_next_sentence_is_animated_while_the_present_one_ends(gateway, triton):
    triton.pace = 0.05
    prompt = "This sentence is long enough to be rendered in more than a second. And this one follows it directly."
    video = gateway.finished(gateway.http.post("/v1/videos", data={"prompt": prompt}, files={"portrait": FACE}).json())
    assert video["status"] == "completed"
    assert triton.most_at_once == 2


def test_sentences_settle_where_client_and_server_know_how(gateway, triton):
    triton.options = (*triton.options, "settle")
    gateway.finished(gateway.http.post("/v1/videos", data={"prompt": "Hi."}, files={"portrait": FACE}).json())
    (request,) = triton.requests
    sent = inputs_of(request).get("settle")
    if known_to_client("settle"):
        assert struct.unpack("<f", sent) == pytest.approx((SETTLE_SECONDS,))
    else:
        assert sent is None

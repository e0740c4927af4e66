"""Animating through a real gRPC connection, with both clients."""

import threading
import time

import grpc
import pytest
from fake_triton import FakeTriton, endless, error, final, fragment, video
from sadtalker_client import (
    AnimationCancelledError,
    DeadlineExceededError,
    Fragment,
    InvalidInputError,
    ProtocolError,
    QueueFullError,
    SadTalkerError,
    ServerError,
    ServerUnavailableError,
    UploadLimits,
)
from tritonclient.grpc import service_pb2

INPUT = (b"picture", b"sound")


def test_fragments_come_in_order_with_progress(server, face):
    fragments = face(server.url).fragments(*INPUT)
    assert fragments == [Fragment(b"one", 1, 3), Fragment(b"two", 2, 3), Fragment(b"three", 3, 3)]
    assert [fragment.progress for fragment in fragments] == pytest.approx([1 / 3, 2 / 3, 1])


def test_the_first_fragment_comes_before_the_last_is_made(server, face):
    held = server.hold_second_fragment()
    seen = []
    face(server.url).save("/dev/null", *INPUT, on_progress=lambda each: (seen.append(each), held.set()))
    assert [each.frames_done for each in seen] == [1, 2]


def test_paths_and_bytes_send_the_same(server, face, tmp_path):
    portrait, speech = tmp_path / "a.png", tmp_path / "b.wav"
    portrait.write_bytes(b"picture")
    speech.write_bytes(b"sound")
    face(server.url).read(*INPUT)
    face(server.url).read(portrait, str(speech))
    assert server.requests[0].raw_input_contents == server.requests[1].raw_input_contents
    assert server.requests[0].inputs == server.requests[1].inputs


def test_a_poster_is_one_picture(server, face):
    server.answer = lambda request: [fragment(b"PNG", 1, 1), final()]
    assert face(server.url).poster(b"picture", seed=3) == b"PNG"
    assert [tensor.name for tensor in server.requests[0].inputs] == ["image", "seed", "poster"]


def test_messages_beyond_four_megabytes(server, face):
    server.answer = lambda request: video(b"v" * 6_000_000)
    assert len(face(server.url).read(b"i" * 6_000_000, b"a" * 6_000_000)) == 6_000_000


def test_every_request_has_an_id_of_its_own(server, face):
    ids = [face(server.url).request_id(*INPUT) for _ in range(2)]
    ids.append(face(server.url).request_id(*INPUT, request_id="order-17/b"))
    assert [request.id for request in server.requests] == ids
    assert len(set(ids)) == 3
    assert ids[2] == "order-17/b"
    assert all(len(each) == 32 for each in ids[:2])


def test_a_poster_has_an_id_too(server, face):
    face(server.url).poster(b"picture", request_id="poster-1")
    assert server.requests[0].id == "poster-1"


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: [error(f"[request id: {request.id}] INVALID_ARGUMENT: the portrait shows no face")],
        lambda request: [grpc.StatusCode.UNAVAILABLE],
        lambda request: [final()],
    ],
    ids=["refused", "status", "contract"],
)
def test_an_error_names_its_request(server, face, answer):
    server.answer = answer
    with pytest.raises(SadTalkerError) as caught:
        face(server.url).read(*INPUT, request_id="order-17")
    assert caught.value.request_id == "order-17"
    assert "order-17" not in str(caught.value)  # the text is for users


@pytest.mark.parametrize("request_id", ["", "a b", "x]", "é", "a" * 129, 7])
def test_an_id_that_would_spoil_a_log_is_refused(server, face, request_id):
    with pytest.raises(InvalidInputError, match=r"^request_id: expected 1 to 128 letters") as caught:
        face(server.url).read(*INPUT, request_id=request_id)
    assert caught.value.request_id is None  # nothing was sent
    assert server.requests == []


def test_a_file_that_is_too_large_is_not_sent(server, face):
    with pytest.raises(InvalidInputError, match="portrait: expected at most 6 bytes"):
        face(server.url, upload_limits=UploadLimits(picture=6)).read(*INPUT)
    assert server.requests == []


def test_animations_of_one_client_run_side_by_side(server, face):
    server.answer = lambda request: video(*[request.raw_input_contents[1][4:]] * 3)
    pairs = face(server.url).interleaved((b"i", b"first"), (b"i", b"second"))
    assert [(one.data, two.data) for one, two in pairs] == [(b"first", b"second")] * 3


def test_metadata_goes_with_every_call(server, face):
    talker = face(server.url, metadata={"Authorization": "Bearer token"})
    talker.read(*INPUT)
    talker.is_ready()
    assert [metadata["authorization"] for metadata in server.metadata] == ["Bearer token"] * 2


def test_save_writes_the_whole_file_and_nothing_else(server, face, tmp_path):
    face(server.url).save(tmp_path / "out.mp4", *INPUT)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"onetwothree"


def test_save_shows_nothing_under_the_name_until_complete(server, face, tmp_path):
    target = tmp_path / "out.mp4"
    seen = []
    face(server.url).save(target, *INPUT, on_progress=lambda each: seen.append(target.exists()))
    assert seen == [False, False, False]


def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(server, face, tmp_path):
    server.answer = lambda request: [fragment(b"one", 1, 3), error("INTERNAL: out of memory")]
    target = tmp_path / "out.mp4"
    target.write_bytes(b"old")
    with pytest.raises(ServerError):
        face(server.url).save(target, *INPUT)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.mp4": b"old"}


def test_an_error_in_the_callback_stops_the_server_and_the_file(server, face, tmp_path):
    server.answer = lambda request: endless()

    def refuse(each):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        face(server.url).save(tmp_path / "out.mp4", *INPUT, on_progress=refuse)
    assert server.cancelled.wait(20)
    assert list(tmp_path.iterdir()) == []


def test_saving_into_no_directory_stops_the_server(server, face, tmp_path):
    server.answer = lambda request: endless()
    with pytest.raises(FileNotFoundError):
        face(server.url).save(tmp_path / "no" / "out.mp4", *INPUT)
    assert not server.requests or server.cancelled.wait(20)  # asyncio has not even asked yet


@pytest.mark.parametrize("way", ["with", "cancel", "break"])
def test_leaving_early_stops_the_server(server, face, way):
    server.answer = lambda request: endless()
    assert face(server.url).leave_after_first(*INPUT, way=way, while_open=lambda: server.cancelled.wait(20))


def test_reading_a_cancelled_animation_says_so(server, face):
    server.answer = lambda request: endless()
    with pytest.raises(AnimationCancelledError, match="cancelled"):
        face(server.url).read_after_cancel(*INPUT)


@pytest.mark.parametrize("of_client", [True, False], ids=["client", "call"])
def test_the_timeout_covers_the_whole_animation(server, face, of_client):
    server.answer = lambda request: endless()
    start = time.monotonic()
    with pytest.raises(DeadlineExceededError, match="timeout passed"):
        if of_client:
            face(server.url, timeout=0.5).read(*INPUT)
        else:
            face(server.url, timeout=100).read(*INPUT, timeout=0.5)
    assert 0.4 < time.monotonic() - start < 30
    assert server.cancelled.wait(20)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("INVALID_ARGUMENT: the portrait shows no face", InvalidInputError, "the portrait shows no face"),
        (
            "[request id: 7] in ensemble 'encode_portrait', INVALID_ARGUMENT: the portrait shows no face",
            InvalidInputError,
            "the portrait shows no face",
        ),
        ("INTERNAL: renderer broke", ServerError, "{url} failed (INTERNAL): renderer broke"),
        ("UNAVAILABLE: restarting", ServerUnavailableError, "{url} is unavailable: restarting"),
        ("renderer broke: badly", ServerError, "{url} failed (INTERNAL): renderer broke: badly"),
        (
            "[request id: <id_unknown>] Exceeds maximum queue size",
            QueueFullError,
            "the queue of {url} is full: Exceeds maximum queue size",
        ),
        ("Request timeout expired", ServerUnavailableError, "{url} is unavailable: Request timeout expired"),
        (
            "Request for unknown model: 'sadtalker' is not found",
            ServerUnavailableError,
            "{url} is unavailable: Request for unknown model: 'sadtalker' is not found",
        ),
        (
            "Server is stopping, scheduler for model has stopped accepting new inference requests",
            ServerUnavailableError,
            "{url} is unavailable: Server is stopping, scheduler for model has stopped accepting new inference "
            "requests",
        ),
    ],
)
def test_error_texts_become_exceptions(server, face, text, kind, message):
    server.answer = lambda request: [fragment(b"one", 1, 3), error(text)]
    with pytest.raises(SadTalkerError) as caught:
        face(server.url).read(*INPUT)
    assert type(caught.value) is kind
    assert str(caught.value) == message.format(url=server.url)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInputError),
        (grpc.StatusCode.UNAVAILABLE, ServerUnavailableError),
        (grpc.StatusCode.UNAUTHENTICATED, ServerError),
        (grpc.StatusCode.CANCELLED, AnimationCancelledError),
    ],
)
def test_grpc_statuses_become_exceptions(server, face, status, kind):
    server.answer = lambda request: [status]
    with pytest.raises(kind, match="as told"):
        face(server.url).read(*INPUT)


def test_no_server_there(face, free_port):
    with pytest.raises(ServerUnavailableError, match=f"127.0.0.1:{free_port} is unavailable: .*refused"):
        face(f"127.0.0.1:{free_port}").read(*INPUT)


def test_a_server_that_dies_in_the_middle(server, face):
    dead = threading.Event()

    def answer(request):
        yield fragment(b"one", 1, 3)
        threading.Thread(target=lambda: (server.stop(), dead.set())).start()
        dead.wait(2)

    server.answer = answer
    with pytest.raises(ServerUnavailableError, match="is unavailable"):
        face(server.url).read(*INPUT)


def _with_outputs(change):
    response = fragment(b"one", 1, 1)
    change(response.infer_response)
    return response


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([final()], "ended its answer after 0 of any frames"),
        ([], "ended its answer after 0 of any frames"),
        ([fragment(b"one", 1, 1)], "ended its answer after 1 of 1 frames"),
        ([fragment(b"one", 1, 3), final()], "ended its answer after 1 of 3 frames"),
        ([*video(b"one"), fragment(b"one", 1, 1)], "went on answering"),
        ([fragment(b"one", 4, 3), final()], "got 4 of 3"),
        ([fragment(b"", 0, 0), final()], "got 0 of 0"),
        ([_with_outputs(lambda infer: infer.outputs.pop())], "expected the output tensors"),
        ([_with_outputs(lambda infer: infer.raw_output_contents.pop())], "expected the output tensors"),
        ([_with_outputs(lambda infer: setattr(infer.outputs[0], "name", "film"))], "'film'"),
        ([_with_outputs(lambda infer: setattr(infer.outputs[1], "datatype", "INT64"))], "'INT64'"),
        ([_with_outputs(lambda infer: infer.raw_output_contents.__setitem__(1, b"\0"))], "one element"),
        ([_with_outputs(lambda infer: infer.raw_output_contents.__setitem__(0, b"\0"))], "one element"),
        ([_with_outputs(lambda infer: infer.raw_output_contents.__setitem__(0, b"\2\0\0\0x"))], "expected 2 bytes"),
    ],
)
def test_answers_that_break_the_contract(server, face, answer, message):
    server.answer = lambda request: answer
    with pytest.raises(ProtocolError, match=message):
        face(server.url).read(*INPUT)


def test_readiness(server, face, free_port):
    assert face(server.url).is_ready()
    server.ready = False
    assert not face(server.url).is_ready()
    assert not face(f"127.0.0.1:{free_port}").is_ready()


def test_waiting_for_a_server_that_starts_late(face, free_port):
    late = FakeTriton()
    timer = threading.Timer(1, late.start, [free_port])
    timer.start()
    try:
        face(f"127.0.0.1:{free_port}").wait_until_ready(20)
    finally:
        timer.join()
        late.stop()


def test_waiting_in_vain(server, face):
    server.ready = False
    with pytest.raises(ServerUnavailableError, match=r"was not ready within 0\.5 s"):
        face(server.url).wait_until_ready(0.5)


def test_the_request_asks_for_an_end_mark(server, face):
    face(server.url).read(*INPUT)
    request = server.requests[0]
    assert request.model_name == "sadtalker"
    assert request.parameters["triton_enable_empty_final_response"] == service_pb2.InferParameter(bool_param=True)
    assert "triton_grpc_error" not in server.metadata[0]

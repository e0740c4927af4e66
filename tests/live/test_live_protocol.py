"""Requests of live sessions as they lie on the wire: out of order, too large, interleaved."""

import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
from live_frames import RATE
from sadtalker_client import _live_wire as wire
from sadtalker_client._files import UploadLimits
from tritonclient.grpc import service_pb2_grpc


@pytest.fixture
def stub(tiny_server):
    with grpc.insecure_channel(tiny_server.grpc_url) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def start(session: int, portrait: Path, **options: object):
    return wire.start_request(session, portrait, {"pace": "fast", **options}, UploadLimits())


def answers(stub, requests: list, wanted: int) -> list[tuple[str, str]]:
    """Yield ids and errors of the first answers that carry a message or are not a start's."""
    done, found = threading.Event(), []

    def sent():
        yield from requests
        done.wait(20)

    for response in (call := stub.ModelStreamInfer(sent())):
        if response.error_message:
            found.append((response.infer_response.id, response.error_message))
        if len(found) == wanted:
            call.cancel()
            break
    done.set()
    return found


OUT_OF_ORDER = {
    "speech before the start": "must specify the START flag",
    "two starts": "expected a new one, got the start of one that goes on",
    "speech of another session": "must specify the START flag",
    "speech after the end": "must specify the START flag",
    "an unknown control": "control: expected flush, interrupt, end, got 'sing'",
    "speech in two formats": "speech: expected pcm or samples, got both",
    "speech without a rate": "rate: expected samples per second with speech, got none",
    "a start without a picture": "image: expected a portrait in a session's first request, got none",
}


def out_of_order(case: str, portrait_path, speech):
    """Return the requests of one case, in sessions of their own: one that was left lives on for a while."""
    one = wire.new_session()
    [said] = wire.speech_requests(one, speech, RATE)
    begun = start(one, portrait_path)
    if case == "speech before the start":
        return [said]
    if case == "two starts":
        return [begun, start(one, portrait_path)]
    if case == "speech of another session":
        return [begun, *wire.speech_requests(wire.new_session(), speech, RATE)]
    if case == "speech after the end":
        return [begun, wire.close_request(one), said]
    if case == "an unknown control":
        return [begun, wire.control_request(one, "sing")]
    if case == "speech in two formats":
        wire._add(said, "samples", "FP32", (1,), b"\0\0\0\0")
        return [begun, said]
    flush = wire.control_request(one, "flush")
    if case == "speech without a rate":
        wire._add(flush, "pcm", "INT16", (200,), b"\0" * 400)
        return [begun, flush]
    flush.parameters["sequence_start"].bool_param = True
    return [flush]


@pytest.mark.parametrize("case", OUT_OF_ORDER)
def test_what_is_out_of_order_is_an_error_of_its_own_request(stub, portrait_path, speech, case):
    one_more = answers(stub, out_of_order(case, portrait_path, speech), 1)
    assert OUT_OF_ORDER[case] in one_more[0][1], one_more


def test_uploads_have_limits_and_a_session_outlives_a_refused_piece(stub, portrait_path, speech):
    huge = wire.start_request(wire.new_session(), bytes(33 * 10**6), {}, UploadLimits(picture=2**26))
    [(_, message)] = answers(stub, [huge], 1)
    assert "INVALID_ARGUMENT: image: expected at most 32 MB, got 33.0 MB" in message

    session, done, refusals, frames = wire.new_session(), threading.Event(), [], 0
    too_much = wire.control_request(session, "flush")
    wire._add(too_much, "samples", "FP32", (1_250_000,), bytes(5 * 10**6))
    wire._add(too_much, "rate", "INT32", (1,), RATE.to_bytes(4, "little"))
    requests = [start(session, portrait_path), too_much, *wire.speech_requests(session, speech, RATE)]

    def sent():
        yield from requests
        yield wire.control_request(session, "end")
        done.wait(60)

    for response in stub.ModelStreamInfer(sent()):
        if response.error_message:
            refusals.append(response.error_message)
            continue
        frames += bool(response.infer_response.outputs)
        if response.infer_response.parameters["triton_final_response"].bool_param:
            done.set()
    assert len(refusals) == 1, refusals
    assert "INVALID_ARGUMENT: samples: expected at most 4 MB, got 5.0 MB" in refusals[0]
    assert frames == 22


def test_interleaved_sessions_on_one_stream_are_kept_apart(stub, portrait_path, speech):
    one, other = wire.new_session(), wire.new_session()
    requests = [start(one, portrait_path), start(other, portrait_path)]
    for piece in np.array_split(speech, 3):
        requests += wire.speech_requests(one, piece, RATE) + wire.speech_requests(other, piece[::-1].copy(), RATE)
    requests += [wire.control_request(one, "end"), wire.control_request(other, "end")]
    done, final, frames = threading.Event(), 0, []

    def sent():
        yield from requests
        done.wait(60)

    for response in stub.ModelStreamInfer(sent()):
        assert not response.error_message
        infer = response.infer_response
        final += infer.parameters["triton_final_response"].bool_param
        if infer.outputs:
            frames.append(infer)
        if final == 2:
            done.set()
    assert len(frames) == 44


def test_frames_may_be_acknowledged_after_the_end(stub, portrait_path, speech):
    one, ended, done = wire.new_session(), threading.Event(), threading.Event()

    def sent():
        yield start(one, portrait_path)
        yield from wire.speech_requests(one, speech[:RATE], RATE)
        yield wire.control_request(one, "end")
        assert ended.wait(120)
        yield wire.received_request(one, 5)  # as a client does that has not yet seen the end
        yield wire.control_request(one, "flush")
        done.wait(20)

    for response in (call := stub.ModelStreamInfer(sent())):
        answer = response.infer_response
        if answer.id == "start" and answer.parameters["triton_final_response"].bool_param:
            ended.set()
        if response.error_message:
            break
    done.set()
    call.cancel()
    assert "expected one that goes on, got one that has ended" in response.error_message
    assert answer.id == "flush"

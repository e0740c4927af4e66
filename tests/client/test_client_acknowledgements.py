"""Acknowledgements of a video while it is read: seldom, and only what the application has dealt with."""

import asyncio
import struct
import time

import pytest
from fake_triton import error, fragment, video
from sadtalker_client import AsyncSadTalkerClient, SadTalkerClient, StalledError

PIECE = bytes(3_000_000)


def _acknowledged(server) -> list[tuple[str, int]]:
    """Return request id of the video and frames done of every acknowledgement."""
    told = []
    for request in server.acknowledgements:
        assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in request.inputs] == [
            ("video", "BYTES", [1]),
            ("frames_done", "INT32", [1]),
        ]
        name, frames_done = request.raw_input_contents
        assert struct.unpack_from("<I", name) == (len(name) - 4,)
        told.append((name[4:].decode(), *struct.unpack("<i", frames_done)))
    return told


def _until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_every_8_megabytes_that_were_read_are_acknowledged(server) -> None:
    server.answer = lambda request: video(*[PIECE] * 7)
    with SadTalkerClient(server.url) as client:
        assert len(client.animate(b"picture", b"sound").read()) == 7 * len(PIECE)
    [request] = server.requests
    assert request.id
    _until(lambda: len(server.acknowledgements) == 2)
    assert _acknowledged(server) == [(request.id, 3), (request.id, 6)]


def test_the_same_in_asyncio(server) -> None:
    server.answer = lambda request: video(*[PIECE] * 7)

    async def read() -> bytes:
        async with AsyncSadTalkerClient(server.url) as client:
            return await client.animate(b"picture", b"sound").read()

    assert len(asyncio.run(read())) == 7 * len(PIECE)
    _until(lambda: len(server.acknowledgements) == 2)
    assert [frames for _, frames in _acknowledged(server)] == [3, 6]


def test_a_fragment_that_is_not_dealt_with_is_not_acknowledged(server) -> None:
    server.answer = lambda request: video(*[PIECE] * 4)
    with SadTalkerClient(server.url) as client:
        animation = client.animate(b"picture", b"sound")
        for _ in range(3):
            next(animation)
        time.sleep(0.2)
        assert not server.acknowledgements
        assert next(animation).frames_done == 4  # which says that the third has been dealt with
        assert list(animation) == []
    _until(lambda: server.acknowledgements)
    assert [frames for _, frames in _acknowledged(server)] == [3]


def test_an_answer_to_an_acknowledgement_does_not_disturb_the_video(server) -> None:
    """As from a server that has no model `acknowledge`."""
    refusal = error("Request for unknown model: 'acknowledge' is not found")
    refusal.infer_response.id = "acknowledgement"
    one, two, end = video(b"one", b"two")
    server.answer = lambda request: [one, refusal, two, end]
    with SadTalkerClient(server.url) as client:
        assert client.animate(b"picture", b"sound").read() == b"onetwo"


def test_a_video_that_the_server_gave_up_has_an_error_of_its_own(server) -> None:
    server.answer = lambda request: [fragment(b"x", 1, 9), error("ABORTED: the video was given up: expected more")]
    with SadTalkerClient(server.url) as client, pytest.raises(StalledError, match="gave up: the video was given up"):
        client.animate(b"picture", b"sound").read()

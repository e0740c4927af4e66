"""Sessions of both clients against a server that does what each test wants."""

import asyncio
import itertools
import queue
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import grpc
import numpy as np
import pytest
from fake_live import RATE, WAIT_SECONDS, AsyncTalk, BlockingTalk, FakeLive, failed, final, frame, text
from sadtalker_client import (
    AnimationCancelledError,
    AsyncSadTalkerClient,
    InvalidInputError,
    ProtocolError,
    ServerError,
    ServerUnavailableError,
)

PIECE = np.zeros(RATE // 50, np.int16)


@pytest.fixture
def server():
    """Run a fake that ends sessions at once until told otherwise."""
    fake = FakeLive().start()
    yield fake
    fake.stop()


@pytest.fixture(params=[BlockingTalk, AsyncTalk], ids=["sync", "asyncio"])
def live(request):
    """Begins a session of each client in turn, with `with`."""
    return request.param


def until_end(arrived):
    """Answers the first piece of speech with two frames, `end` with the session's end."""
    for request in iter(arrived.get, None):
        if text(request) == "end":
            yield final()
            return
        if request.id == "speech":
            yield frame(0)
            yield frame(1, ends=True)


def endless(arrived):
    for index in itertools.count():
        yield frame(index)
        time.sleep(0.002)


def test_a_session_from_start_to_end(server, live):
    server.script = until_end
    with live(server.url, look_ahead="full", idle=False, seed=3) as session:
        session.speak(PIECE, RATE)
        session.flush()
        session.interrupt()
        session.end()
        frames = list(session)
        assert [(each.data, each.index, each.utterance, each.ends) for each in frames] == [
            (b"picture 0", 0, 0, False),
            (b"picture 1", 1, 0, True),
        ]
        assert list(session) == []
        with pytest.raises(AnimationCancelledError, match="has ended"):
            session.speak(PIECE, RATE)
        server.wait_for(lambda requests: requests[-1].id == "close")
    start, *_, close = server.requests
    assert [request.id for request in server.requests] == ["start", "speech", "flush", "interrupt", "end", "close"]
    assert {tensor.name: tensor.datatype for tensor in start.inputs} == {
        "image": "BYTES",
        "look_ahead": "INT32",
        "idle": "BOOL",
        "seed": "INT64",
    }
    assert start.parameters["sequence_start"].bool_param and close.parameters["sequence_end"].bool_param
    assert len({request.parameters["sequence_id"].int64_param for request in server.requests}) == 1


def test_frames_are_acknowledged_as_they_are_read(server, live):
    def hundred(arrived):
        yield from map(frame, range(100))
        yield from endless(arrived)

    def received():
        """Return what was acknowledged, but for the sign of life every 8 s."""
        return [each for each in (text(request, "received") for request in server.requests) if each and each % 10 == 0]

    server.script = hundred
    with live(server.url) as session:
        time.sleep(0.5)
        assert received() == []  # nobody has read any
        for _ in range(25):
            next(session)
        server.wait_for(lambda requests: len(received()) >= 2)
        time.sleep(0.2)
        assert received() == [10, 20]


def test_speech_that_the_server_does_not_take_is_not_piled_up(server, live):
    server.reads = False
    server.script = lambda arrived: iter(arrived.get, None)
    seconds, sent, failures = np.zeros(10 * 48_000, np.int16), [], []

    def speak(session):
        try:
            for count in range(1000):
                session.speak(seconds, 48_000)
                sent.append(count)
        except Exception as error:
            failures.append(error)

    with live(server.url) as session:
        speaking = threading.Thread(target=speak, args=(session,))
        speaking.start()
        before = -1
        while before < len(sent):  # until no more goes out for a second
            before = len(sent)
            time.sleep(1)
        assert len(sent) < 150  # of 0.96 MB each
        session.cancel()
        speaking.join(WAIT_SECONDS)
    assert not speaking.is_alive()
    assert isinstance(failures[0], AnimationCancelledError)


def test_an_error_of_one_request_leaves_the_session_going(server, live):
    def refusing(arrived):
        yield frame(0)
        while arrived.get().id != "speech":
            pass
        yield failed("INVALID_ARGUMENT: rate: expected 16000 Hz", "speech")
        yield frame(1)
        yield final()

    server.script = refusing
    with live(server.url) as session:
        assert next(session).index == 0
        session.speak(PIECE, RATE)
        with pytest.raises(InvalidInputError, match=r"^rate: expected 16000 Hz$"):
            next(session)
        assert [each.index for each in session] == [1]


def test_an_error_of_the_session_ends_it(server, live):
    def failing(arrived):
        yield frame(0)
        yield failed("INTERNAL: out of memory")
        yield from iter(arrived.get, None)

    server.script = failing
    with live(server.url) as session:
        assert next(session).index == 0
        with pytest.raises(ServerError, match="out of memory"):
            next(session)
        assert list(session) == []
        with pytest.raises(AnimationCancelledError, match="has ended"):
            session.flush()


def test_a_server_that_goes_away_ends_the_session_and_another_may_begin(server, live):
    def leave(arrived):
        arrived.get(timeout=WAIT_SECONDS)
        yield from (frame(0), grpc.StatusCode.UNAVAILABLE)

    server.script = leave
    with live(server.url) as session:
        assert next(session).index == 0
        with pytest.raises(ServerUnavailableError, match="as told"):
            next(session)
        with pytest.raises((AnimationCancelledError, ServerUnavailableError)):
            session.speak(PIECE, RATE)
    server.script = lambda arrived: [frame(0), final()]
    with live(server.url) as session:
        assert [each.index for each in session] == [0]


def test_a_stream_that_ends_during_a_write_means_that_the_server_is_gone(server, live):
    server.script = lambda arrived: [grpc.StatusCode.INTERNAL]
    server.details = "Internal error from Core"  # as gRPC for asyncio says it, whatever the server's status was
    with pytest.raises(ServerUnavailableError, match="connection ended"), live(server.url) as session:
        next(session)


def test_nobody_there(free_port, live):
    with pytest.raises(ServerUnavailableError), live(f"127.0.0.1:{free_port}") as session:
        next(session)


@pytest.mark.parametrize(
    ("answers", "message"),
    [([frame(0), frame(2)], "expected frame 1, got 2"), ([frame(0)], "ended the stream in the middle of the session")],
    ids=["a frame is missing", "no end"],
)
def test_a_broken_protocol_is_named(server, live, answers, message):
    server.script = lambda arrived: answers
    with pytest.raises(ProtocolError, match=message), live(server.url) as session:
        list(session)


def test_another_thread_may_cancel(server, live):
    server.script = endless
    with live(server.url) as session:
        threading.Timer(0.3, session.cancel).start()
        with pytest.raises(AnimationCancelledError):
            list(session)
        assert server.cancelled.wait(WAIT_SECONDS)


def test_leaving_while_another_thread_speaks_ends_both(server, live):
    server.script = endless
    failures = queue.Queue()

    def speak(session):
        try:
            while True:
                session.speak(PIECE, RATE)
                time.sleep(0.005)
        except Exception as error:
            failures.put(error)

    with live(server.url) as session:
        speaking = threading.Thread(target=speak, args=(session,))
        speaking.start()
        server.wait_for(lambda requests: len(requests) > 10)
        session.cancel()
        assert isinstance(failures.get(timeout=WAIT_SECONDS), AnimationCancelledError)
    speaking.join(WAIT_SECONDS)
    assert server.cancelled.wait(WAIT_SECONDS)


def test_cancelling_the_task_ends_the_session(server):
    server.script = endless

    async def main():
        async def listen():
            async with client.live(b"portrait") as session:
                async for _ in session:
                    begun.set()

        async with AsyncSadTalkerClient(server.url) as client:
            begun = asyncio.Event()
            listening = asyncio.create_task(listen())
            await begun.wait()
            listening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listening
            return await asyncio.to_thread(server.cancelled.wait, WAIT_SECONDS)

    assert asyncio.run(main())


def test_what_cannot_be_sent_is_refused_before_it_is(server, live):
    server.script = until_end
    with live(server.url) as session:
        for piece, rate, message in (
            (np.zeros(2**29, np.int16), 48_000, "speech: expected at most 300 s at once, got 11184.8 s"),  # 1 GB
            (PIECE, 0, "rate: expected samples per second, got 0"),
            (b"abc", RATE, "speech: expected 16-bit samples, got an odd number of bytes"),
        ):
            with pytest.raises(InvalidInputError, match=f"^{message}$"):
                session.speak(piece, rate)
        session.end()
        assert list(session) == []
    assert "speech" not in [request.id for request in server.requests]


def test_a_session_that_has_not_begun_says_so(server):
    async def main():
        async with AsyncSadTalkerClient(server.url) as client:
            session = client.live(b"portrait")
            with pytest.raises(RuntimeError, match="has not begun: use it with `async with`"):
                await session.speak(PIECE, RATE)

    asyncio.run(main())
    with pytest.raises(RuntimeError, match="has not begun: use it with `with`"):
        next(BlockingTalk(server.url)._session)


def test_the_example_speaks_in_pieces_and_writes_what_comes(server, tmp_path):
    def two_frames(arrived):
        yield frame(0)
        for request in iter(arrived.get, None):
            if text(request) == "end":
                yield frame(1, ends=True)
                yield final()
                return

    server.script = two_frames
    example = Path(__file__).parents[2] / "examples" / "live.py"
    output = tmp_path / "live.mp4"
    subprocess.run([sys.executable, example, server.url, output], check=True, timeout=2 * WAIT_SECONDS)
    assert output.read_bytes() == b"picture 0picture 1"
    with wave.open(str(example.parent / "speech.wav")) as speech:
        expected = speech.readframes(speech.getnframes())
    pieces = [request for request in server.requests if request.id == "speech"]
    said = b"".join(request.raw_input_contents[0] for request in pieces)
    assert expected.startswith(said) and len(said) > len(expected) - 2 * RATE // 100
    assert {len(request.raw_input_contents[0]) for request in pieces[:-1]} == {2 * RATE // 50}

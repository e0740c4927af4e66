"""Sessions through the real server and both clients."""

import asyncio
import io
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path

import av
import grpc
import numpy as np
import psutil
import pytest
from sadtalker_client import (
    AnimationCancelledError,
    AsyncLiveSession,
    AsyncSadTalkerClient,
    InvalidInputError,
    LiveFrame,
    SadTalkerClient,
    ServerUnavailableError,
)
from sadtalker_client import _live_wire as wire
from sadtalker_client._files import UploadLimits
from tritonclient.grpc import service_pb2_grpc

RATE = 16_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Return 0.9 s of speech, int16."""
    with wave.open(str(Path(__file__).parents[2] / "examples" / "speech.wav")) as file:
        return np.frombuffer(file.readframes(14_400), np.int16)


@pytest.fixture
def conversation(tiny_server, portrait_path) -> Callable:
    """Run a coroutine with a session."""

    def run(talk: Callable[[AsyncLiveSession], Coroutine], **options: object):
        async def main():
            async with (
                AsyncSadTalkerClient(tiny_server.grpc_url) as client,
                client.live(portrait_path, **options) as session,
            ):
                return await asyncio.wait_for(talk(session), 100)

        return asyncio.run(main())

    return run


async def frames_of(session: AsyncLiveSession, until: Callable[[LiveFrame], bool] = lambda _: False) -> list[LiveFrame]:
    frames = []
    async for frame in session:
        frames.append(frame)
        if until(frame):
            break
    return frames


def packets(mp4: bytes) -> list[bytes]:
    with av.open(io.BytesIO(mp4)) as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


def test_with_full_look_ahead_the_stream_s_pictures_are_those_of_the_video(
    conversation, tiny_server, portrait_path, speech_path, speech
):
    with SadTalkerClient(tiny_server.grpc_url, timeout=120) as client:
        video = client.animate(portrait_path, speech_path, seed=3).read()

    async def talk(session: AsyncLiveSession) -> list[LiveFrame]:
        for piece in np.array_split(speech, 7):
            await session.speak(piece.tobytes(), RATE)
        await session.end()
        return await frames_of(session)

    frames = conversation(talk, look_ahead="full", pace="fast", format="mp4", seed=3)
    stream = b"".join(frame.data for frame in frames)
    assert packets(stream) == packets(video)
    assert len(frames) == 22
    with av.open(io.BytesIO(stream)) as file:
        sound = np.concatenate([block.to_ndarray()[0] for block in file.decode(audio=0)])
    with av.open(io.BytesIO(video)) as file:
        expected = np.concatenate([block.to_ndarray()[0] for block in file.decode(audio=0)])
    assert len(expected) - 6 * 1024 < len(sound) <= len(expected)
    assert np.corrcoef(sound, expected[: len(sound)])[0, 1] > 0.99  # in step


@pytest.mark.parametrize("format", ["rgb24", "jpeg"])
def test_frames_come_with_their_speech(conversation, speech, format):
    async def talk(session: AsyncLiveSession) -> list[LiveFrame]:
        await session.speak(speech.astype(np.float32) / 32768, RATE)
        await session.flush()
        return await frames_of(session, lambda frame: frame.ends)

    frames = conversation(talk, pace="fast", format=format)
    assert [frame.index for frame in frames] == list(range(22))
    assert [frame.time for frame in frames] == pytest.approx([index / 25 for index in range(22)])
    assert {frame.utterance for frame in frames} == {0}
    for frame in frames:
        assert (frame.width, frame.height, len(frame.sound)) == (256, 256, 2 * 1920)
        if format == "rgb24":
            assert len(frame.data) == 256 * 256 * 3
        else:
            assert frame.data.startswith(b"\xff\xd8")
    sound = np.frombuffer(b"".join(frame.sound for frame in frames), "<i2")[::3]
    assert np.corrcoef(sound, speech[: len(sound)])[0, 1] > 0.99


def test_in_real_time_it_idles_speaks_is_interrupted_and_ends(conversation, speech, metric):
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)  # one that was left before is noticed within a second
    before = {name: metric(f"sadtalker_live_{name}_total") for name in ("frames", "interrupts")}

    async def talk(session: AsyncLiveSession) -> tuple[list[LiveFrame], float]:
        frames = await frames_of(session, lambda frame: frame.index == 10)
        assert metric("sadtalker_live_sessions") == 1
        begun = time.monotonic()
        for _ in range(3):
            await session.speak(speech, RATE)
        frames += await frames_of(session, lambda frame: frame.utterance == 0)
        await session.interrupt()
        frames += await frames_of(session, lambda frame: frame.index == frames[-1].index + 30)
        await session.speak(speech, RATE)
        await session.end()
        frames += await frames_of(session)
        return frames, time.monotonic() - begun

    frames, seconds = conversation(talk)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert seconds > (len(frames) - 11) / 25 - 0.5
    utterances = [frame.utterance for frame in frames]
    assert utterances[:10] == [None] * 10
    assert utterances.count(0) < 30
    assert utterances[-1] == 1
    assert utterances.count(1) == 22
    assert metric("sadtalker_live_frames_total") - before["frames"] == len(frames)
    assert metric("sadtalker_live_interrupts_total") - before["interrupts"] == 1
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)
    assert metric("sadtalker_live_speech_to_frame_seconds_count") > 0


def test_the_blocking_twin(tiny_server, portrait_path, speech):
    with (
        SadTalkerClient(tiny_server.grpc_url) as client,
        client.live(portrait_path, pace="fast", look_ahead=0) as session,
    ):
        speaking = threading.Thread(target=lambda: (session.speak(speech, RATE), session.end()))
        speaking.start()
        assert [frame.utterance for frame in session] == [0] * 22
        speaking.join()
        with pytest.raises(AnimationCancelledError):
            session.speak(speech, RATE)


def test_another_speech_model_may_be_chosen(conversation, tiny_server, portrait_path, speech, speech_path):
    async def talk(session: AsyncLiveSession) -> list[bytes]:
        await session.speak(speech, RATE)
        await session.end()
        return [frame.data for frame in await frames_of(session)]

    usual = conversation(talk, pace="fast", format="rgb24")
    jaw = conversation(talk, pace="fast", format="rgb24", speech_model="jaw_from_loudness")
    assert len(jaw) == len(usual) == 22
    assert jaw != usual
    with SadTalkerClient(tiny_server.grpc_url, timeout=120) as client:
        assert client.animate(portrait_path, speech_path, speech_model="jaw_from_loudness").read()
        with pytest.raises(InvalidInputError, match=r"speech_model: expected audio2coeff or .*, got 'wav2lip'"):
            client.animate(portrait_path, speech_path, speech_model="wav2lip").read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"look_ahead": 14}, "look_ahead: expected 0 to 13"),
        ({"pace": "slow"}, "pace: expected realtime or fast, got 'slow'"),
        ({"format": "gif"}, "format: expected rgb24, jpeg, mp4, got 'gif'"),
        ({"size": 512}, "size: expected 256"),
        ({"pose_style": 99}, "pose_style: expected 0 to 45"),
        ({"speech_model": "wav2lip"}, "speech_model: expected audio2coeff"),
        ({"speech_model": "not_there"}, "not_there"),
    ],
    ids=str,
)
def test_bad_options_end_the_session_with_an_error(conversation, options, message):
    with pytest.raises(Exception, match=message):
        conversation(frames_of, **options)


def test_a_portrait_without_a_face_is_refused(tiny_server):
    async def main():
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client, client.live(b"no picture") as session:
            await frames_of(session)

    with pytest.raises(InvalidInputError, match="image"):
        asyncio.run(main())


def test_bad_speech_is_an_error_and_the_session_goes_on(conversation, speech):
    async def talk(session: AsyncLiveSession) -> list[LiveFrame]:
        for bad, rate, message in [
            (speech[:50], RATE, "speech: expected at least 0.01 s"),
            (speech, 3, "speech: expected at most 300 s|rate: expected 4000 to 768000 Hz, got 3"),
            (np.full(1600, np.nan, np.float32), RATE, "speech: expected finite samples"),
        ]:
            with pytest.raises(InvalidInputError, match=message):
                await session.speak(bad, rate)
                await frames_of(session)
        for bad, rate, message in [
            (speech, 0, "rate: expected samples per second, got 0"),
            (b"abc", RATE, "16-bit samples, got an odd number"),
            ("speech", RATE, "expected bytes, or an int16 or float32 array .*, got str"),
            (speech[None], RATE, r"got int16 \[1, 14400\]"),
            (np.zeros(2**29, np.int16), RATE, "speech: expected at most 300 s at once"),  # 1 GB
        ]:
            with pytest.raises(InvalidInputError, match=message):
                await session.speak(bad, rate)
        await session.speak(speech, RATE)
        await session.end()
        return await frames_of(session)

    assert len(conversation(talk, pace="fast")) == 22


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


def test_four_sessions_share_executions_of_the_renderer(tiny_server, portrait_path, speech, metric):
    def executions() -> tuple[float, float]:
        return (
            metric("nv_inference_exec_count", model="face_renderer"),
            metric("nv_inference_request_success", model="face_renderer"),
        )

    before = executions()

    async def talk(client: AsyncSadTalkerClient) -> int:
        async with client.live(portrait_path, pace="fast", look_ahead=0) as session:
            await session.speak(speech, RATE)
            await session.end()
            return len(await frames_of(session))

    async def main() -> list[int]:
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client:
            return await asyncio.gather(*(talk(client) for _ in range(4)))

    assert asyncio.run(main()) == [22] * 4
    runs, requests = (after - first for after, first in zip(executions(), before, strict=True))
    assert requests >= 4 * 5  # and what the rest of other tests' faces still needs
    assert runs < requests


def test_a_killed_client_s_session_is_gone(tiny_server, portrait_path, metric):
    script = f"""
import sys, time
from sadtalker_client import SadTalkerClient
with SadTalkerClient({tiny_server.grpc_url!r}) as client, client.live({str(portrait_path)!r}) as session:
    next(session)
    print("begun", flush=True)
    for frame in session: pass
"""
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"begun\n"
    wait_until(lambda: metric("sadtalker_live_sessions") == 1)
    client.kill()
    client.wait()
    client.stdout.close()
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_more_sessions_than_allowed_are_refused_at_once(tiny_server, portrait_path, metric):
    async def main() -> None:
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client:
            sessions = [client.live(portrait_path, pace="fast") for _ in range(16)]
            for session in sessions:
                await session.__aenter__()
            while metric("sadtalker_live_sessions") < 16:
                await asyncio.sleep(0.1)
            with pytest.raises(ServerUnavailableError, match="16 sessions go on"):
                async with client.live(portrait_path) as one_more:
                    await frames_of(one_more)
            for session in sessions:
                await session.__aexit__()

    asyncio.run(main())
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)


def test_a_hundred_sessions_opened_and_dropped_leave_nothing(tiny_server, portrait_path, speech, metric):
    def memory() -> int:
        server = psutil.Process(tiny_server.pid)
        # Private memory: what they share is touched piece by piece for a long time.
        return sum(process.memory_full_info().uss for process in [server, *server.children(recursive=True)])

    async def drop(sessions: int) -> None:
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client:
            for _ in range(sessions):
                async with client.live(portrait_path, pace="fast", look_ahead="full") as session:
                    await session.speak(speech, RATE)  # not enough to be shown
                    begun = time.monotonic()
                    while metric("sadtalker_live_sessions") == 0 and time.monotonic() - begun < 5:
                        await asyncio.sleep(0.02)
                while metric("sadtalker_live_sessions") > 8:
                    await asyncio.sleep(0.05)

    asyncio.run(drop(60))  # threads, and what malloc keeps for each, come with the first sessions
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)
    before = memory()
    asyncio.run(drop(100))
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)
    assert memory() - before < 100 * 2**20  # seen: 50, less the longer the server runs


def test_a_listener_that_stops_reading_is_waited_for(conversation, speech, metric):
    async def talk(session: AsyncLiveSession) -> int:
        before = metric("sadtalker_live_frames_total")
        for _ in range(3):
            await session.speak(speech, RATE)
        await session.end()
        await asyncio.sleep(4)
        sent = metric("sadtalker_live_frames_total") - before
        assert sent <= 50
        return len(await frames_of(session))

    assert conversation(talk, pace="fast", look_ahead=0) == 67

"""One live session at a time, through the real server and both clients."""

import asyncio
import io
import threading
import time

import av
import numpy as np
import pytest
from live_frames import RATE, frames_of, wait_until
from sadtalker_client import (
    AnimationCancelledError,
    AsyncLiveSession,
    AsyncSadTalkerClient,
    InvalidInputError,
    LiveFrame,
    SadTalkerClient,
)


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

"""Live sessions through the client: the machine's speed, and the timing of a session of a minute."""

import asyncio
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sadtalker_client import AsyncLiveSession, AsyncSadTalkerClient, LiveFrame

RATE = 16_000
SOUND_RATE = 48_000
LISTENING = 50  # frames before the speech begins
CAPACITY_SECONDS = 30.0
ALLOWED_SECONDS = 0.2  # after a frame is due
Speech = npt.NDArray[np.int16]


async def measure_capacity(url: str, portrait: Path, speech: Speech) -> dict[str, object]:
    """Return how many frames per second one session gets at pace fast, from the second chunk on."""
    async with AsyncSadTalkerClient(url) as client, client.live(portrait, pace="fast") as session:
        await session.speak(np.resize(speech, 60 * RATE), RATE)
        times: list[float] = []
        async for _ in session:
            times.append(time.monotonic())
            if times[-1] - times[0] > CAPACITY_SECONDS:
                break
    rendered = times[5:]
    rate = (len(rendered) - 1) / (rendered[-1] - rendered[0]) if len(rendered) > 1 else 0.0
    return {
        "frames_per_second": round(rate, 2),
        "of_real_time": round(rate / 25, 3),
        "real_time_in_speech": rate >= 25,
    }


async def measure_realtime(url: str, portrait: Path, speech: Speech, seconds: float) -> dict[str, object]:
    """Return when the frames of a session came and where their time went; speech comes as it is spoken."""
    said = np.resize(speech, round(seconds * RATE))
    async with AsyncSadTalkerClient(url) as client, client.live(portrait) as session:
        frames: list[LiveFrame] = []
        arrivals: list[float] = []
        talking = None
        async for frame in session:
            frames.append(frame)
            arrivals.append(time.monotonic())
            if len(frames) == LISTENING:
                talking = asyncio.create_task(_talk(session, said))
            if talking and talking.done():
                talking.result()  # raise its error instead of waiting for an end that will not come
        if talking:
            await talking
    spoken = [frame for frame in frames if frame.latency]
    delays = np.array(arrivals) - arrivals[0] - np.array([frame.time for frame in frames])
    parts = ("look_ahead", "queue", "compute", "encoding")
    return {
        "seconds": seconds,
        "frames": len(frames),
        "frames_of_speech": len(spoken),
        "pictures_late_percent": round(100 * float(np.mean([frame.late for frame in spoken])), 1),
        "different_pictures_per_second_of_speech": round(len({frame.data for frame in spoken}) / len(spoken) * 25, 2),
        "arrival_after_due_seconds": {
            "median": round(float(np.median(delays)), 3),
            "p99": round(float(np.quantile(delays, 0.99)), 3),
            "max": round(float(delays.max()), 3),
            "largest_in_each_second": [round(float(delays[at : at + 25].max()), 3) for at in range(0, len(delays), 25)],
            "none_later_than_allowed": bool(delays.max() <= ALLOWED_SECONDS),
            "allowed": ALLOWED_SECONDS,
        },
        "sound_against_pictures_seconds": _offsets(frames, spoken, said),
        "speech_to_frame_seconds": {
            part: round(float(np.mean([getattr(frame.latency, part) for frame in spoken])), 3) for part in parts
        },
    }


async def _talk(session: AsyncLiveSession, said: Speech) -> None:
    begun = time.monotonic()
    for at in range(0, len(said), RATE // 50):
        await session.speak(said[at : at + RATE // 50], RATE)
        await asyncio.sleep(max(begun + (at + RATE // 50) / RATE - time.monotonic(), 0))
    await session.end()


def _offsets(frames: list[LiveFrame], spoken: list[LiveFrame], said: Speech) -> dict[str, object]:
    """Return how far sound and pictures are apart at the end.

    delivered: all sound against all frames. speech: where the sound of the last two seconds of speech lies in what was
    said, against where its frames lie (positive: the sound is late). picture: how long before the last frame of speech
    the last picture was one of its own time.
    """
    delivered = sum(len(frame.sound) // 2 for frame in frames) / SOUND_RATE - len(frames) / 25
    sound = np.frombuffer(b"".join(frame.sound for frame in spoken), "<i2")[::3].astype(float)  # at 16 kHz
    length, reach = min(2 * RATE, len(sound) // 2), RATE // 4
    start = len(sound) - length - reach
    tail = sound[start : start + length]
    lags = range(-reach, reach + 1, 4)
    padded = np.pad(said.astype(float), (reach, 2 * reach))
    fits = [float(tail @ padded[start - lag + reach : start - lag + reach + length]) for lag in lags]
    on_time = [index for index, frame in enumerate(spoken) if not frame.late]
    return {
        "delivered": round(delivered, 4),
        "speech": round(lags[int(np.argmax(fits))] / RATE, 4),
        "picture": round((len(spoken) - 1 - on_time[-1]) / 25, 2) if on_time else None,
        "within_40_ms": abs(delivered) <= 0.04 and abs(lags[int(np.argmax(fits))] / RATE) <= 0.04,
    }

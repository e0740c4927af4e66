"""How many streams one Python process carries: `python benchmarks/host.py [--streams 8 --seconds 4]`.

Makes videos with the real animator, blending and encoder, but with networks that answer at once, so that all time is
the host's: the same event loop and threads as in the model. Videos run side by side; frames per second of
all, divided by 25, are the streams the process carries in real time. Each form is measured on one and on all cores,
and as half the videos in each of two processes, in turns; the median of three. With `from_ndarray`, frames are copied
to the encoder as before `from_numpy_buffer`. Writes benchmarks/results/host.json.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import os
import statistics
import sys
import time
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import av
import cv2
import numpy as np
from hardware import describe
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.animation.windows import CHUNK
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.options import Options
from sadtalker_runtime.timing import FRAME_RATE

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FULL_HD = (1920, 1080)
FACE = (660, 190, 1260, 790)  # of the whole picture: left, top, right, bottom
SHIFTS = 8  # different chunks, so that the encoder has motion to describe
RUNS = 3
FORMS = {"face, 256 pixels": False, "whole picture, Full HD, face of 600 pixels": True}
COPIED = "frames copied (from_ndarray)"


class InstantNetworks:
    """Answers every call of the animator with ready tensors."""

    def __init__(self) -> None:
        with av.open(str(ROOT / "examples" / "portrait.jpg")) as file:
            picture = next(file.decode(video=0)).to_ndarray(format="rgb24")
        face = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_AREA)
        self._picture = cv2.resize(picture, FULL_HD, interpolation=cv2.INTER_AREA)
        shifted = [np.roll(face, 2 * at, axis=1) for at in range(SHIFTS + CHUNK)]
        self._chunks = [np.stack(shifted[at : at + CHUNK])[None] for at in range(SHIFTS)]
        self._asked = 0

    def chunk(self, number: int) -> Array:
        """Return frames of a face, uint8 [1, CHUNK, 256, 256, 3]."""
        return self._chunks[number % SHIFTS]

    async def call(self, model: str, inputs: dict[str, Array], *outputs: str) -> list[Array]:
        """Give the outputs of `model` by name."""
        made: dict[str, object]
        if model.startswith("render_frames"):
            self._asked += 1
            made = {"frames": self.chunk(self._asked)}
        elif model == "audio2coeff":
            start, stop = inputs["frames"]
            made = {"coefficients": np.zeros((stop - start, 70), np.float32)}
        elif model == "encode_portrait":
            height, width = self._picture.shape[:2]
            made = {
                "picture": self._picture[None],
                "alignment": np.array([[256, 256, 1.0, 128, 128]], np.float32),
                "appearance": np.zeros((1, 1), np.float32),
                "canonical_keypoints": np.zeros((1, 15, 3), np.float32),
                "coefficients": np.zeros((1, 257), np.float32),
                "geometry": np.array([[*FACE, height, width]], np.int32),
                "landmarks": np.zeros((1, 5, 2), np.float32),
            }
        else:
            made = {"keypoints": np.zeros((1, CHUNK, 15, 3), np.float32)}
        return [np.asarray(made[name]) for name in outputs]


class Unobserved:
    """An observer that is not interested."""

    def stage(self, name: str) -> nullcontext[None]:
        return nullcontext()

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


def frames_per_second(streams: int, seconds: float, full: bool) -> float:
    """Measure so many videos side by side in this process, setting up included."""
    speech = _speech(seconds)
    options = Options(crop="full") if full else Options()

    async def video(animator: Animator) -> int:
        return sum([len(part.video) > 0 and CHUNK async for part in animator.animate(b"portrait", speech, options)])

    async def run() -> float:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16 * 5, "video"))
        animator = Animator(InstantNetworks().call, lambda model: True, Unobserved(), 256, 600, 3, 4)
        await video(animator)  # the portrait is known from here on
        start = time.perf_counter()
        await asyncio.gather(*(video(animator) for _ in range(streams)))
        return streams * seconds * FRAME_RATE / (time.perf_counter() - start)

    return asyncio.run(run())


def in_a_process(streams: int, seconds: float, full: bool, copied: bool, cores: int) -> float:
    """Measure `frames_per_second` in this process, held to so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    cv2.setNumThreads(1)
    with copying() if copied else nullcontext():
        return frames_per_second(streams, seconds, full)


@contextmanager
def copying() -> Iterator[None]:
    """Make the encoder copy frames, as it did."""
    real = av.VideoFrame

    class Copying:
        from_numpy_buffer = staticmethod(real.from_ndarray)

    with mock.patch("sadtalker_runtime.media.mp4.av.VideoFrame", Copying):
        yield


def measured(processes: int, streams: int, *arguments: object) -> float:
    """Measure frames per second of all processes, each with its share of the streams."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes) as pool:
        shares = [(streams // processes, *arguments)] * processes
        return sum(pool.starmap(in_a_process, shares, chunksize=1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=8, help="videos side by side, even")
    parser.add_argument("--seconds", type=float, default=4, help="length of each")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ways = {f"1 process, {n} core{'s' * (n > 1)}": (1, False, n) for n in sorted({1, 2, cores})}
    ways |= {f"1 process, {cores} cores, {COPIED}": (1, True, cores), f"2 processes, {cores} cores": (2, False, cores)}
    forms = {}
    for form, full in FORMS.items():
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(RUNS):
            for way, (processes, copied, used) in ways.items():
                rates[way].append(measured(processes, args.streams, args.seconds, full, copied, used))
        medians = {way: statistics.median(values) for way, values in rates.items()}
        forms[form] = {
            way: {"frames_per_second": round(rate, 1), "streams_at_25": round(rate / FRAME_RATE, 1)}
            for way, rate in medians.items()
        }
        print(form, json.dumps(forms[form], indent=1), flush=True)  # noqa: T201
    what = f"{args.streams} videos of {args.seconds:g} s side by side, networks that answer at once, median of {RUNS}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "host.json").write_text(json.dumps({"what": what, **describe(), "forms": forms}, indent=1) + "\n")
    return 0


def _speech(seconds: float) -> bytes:
    """Return a WAV file of the beginning of the example speech."""
    file = io.BytesIO()
    with wave.open(str(ROOT / "examples" / "speech.wav")) as whole, wave.open(file, "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(round(seconds * whole.getframerate())))
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())

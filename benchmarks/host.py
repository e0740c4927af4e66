"""How many streams one Python process carries: `python benchmarks/host.py [--streams 4 --seconds 1]`.

Makes videos with the real animator, blending and encoder, but with networks that answer at once, so that all time is
the host's: the same event loop and threads as in the model. Videos run side by side; frames per second of all, divided
by 25, are the streams the process carries in real time. Processor time per frame says the same of a busy machine.
Measured in turns: one process on all cores and on one; half the videos in each of two processes, which would be faster
if Python's global lock were the limit; x264 with two threads per video; whole pictures converted for the encoder, as
was done before only what moves is. Ratios are to the first, within each run; medians count. Writes
benchmarks/results/host.json.
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
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import av
import cv2
import numpy as np
from hardware import describe
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.animation.windows import CHUNK
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.media import mp4
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.media.mp4 import FragmentedMp4
from sadtalker_runtime.options import Options
from sadtalker_runtime.timing import FRAME_RATE

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FULL_HD = (1920, 1080)
FACE = (660, 190, 1260, 790)  # of the whole picture: left, top, right, bottom
CORES = sorted(os.sched_getaffinity(0))
SHIFTS = 8  # different chunks, so that the encoder has motion to describe
FORMS = {"face, 256 pixels": False, "whole picture, Full HD, face of 600 pixels": True}


@dataclass(frozen=True)
class Way:
    """A way to share the work."""

    processes: int
    cores: int
    encoder_threads: int = 1
    whole: bool = False
    """Whether whole pictures are converted for the encoder."""


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
    """An observer that ignores all events."""

    def stage(self, name: str) -> nullcontext[None]:
        return nullcontext()

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


class Figures(NamedTuple):
    """The result of one way to share the work."""

    frames_per_second: float
    cpu_ms_per_frame: float
    """Processor time, which other programs on the machine change less than frames per second."""


def measure_here(streams: int, seconds: float, full: bool) -> Figures:
    """Measure so many videos side by side in this process, setting up included."""
    speech = _speech(seconds)
    options = Options(crop="full") if full else Options()

    async def video(animator: Animator) -> int:
        return sum([len(part.video) > 0 and CHUNK async for part in animator.animate(b"portrait", speech, options)])

    async def run(decoders: Decoders) -> Figures:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(16 * 5, "video"))
        animator = Animator(InstantNetworks().call, lambda model: True, Unobserved(), decoders, 256, 600, 3, 4)
        await video(animator)  # the portrait is known from here on
        start, computed = time.perf_counter(), time.process_time()
        await asyncio.gather(*(video(animator) for _ in range(streams)))
        taken, frames = time.perf_counter() - start, streams * seconds * FRAME_RATE
        computed = time.process_time() - computed
        return Figures(frames / taken, 1e3 * computed / frames)

    with closing(Decoders(spare=2 * streams)) as decoders:
        return asyncio.run(run(decoders))


def in_a_process(streams: int, seconds: float, full: bool, way: Way) -> Figures:
    """Measure in this process, held to a way's cores."""
    os.sched_setaffinity(0, CORES[: way.cores])
    cv2.setNumThreads(1)
    with (
        mock.patch.object(mp4, "ENCODER_THREADS", way.encoder_threads),
        converting_whole_pictures() if way.whole else nullcontext(),
    ):
        return measure_here(streams, seconds, full)


@contextmanager
def converting_whole_pictures() -> Iterator[None]:
    """Hide from the encoder which rectangle moves, so that whole pictures are converted."""
    real = FragmentedMp4.__init__

    def initialize(self: FragmentedMp4, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        self._converter = mp4._Converter((0, 0, *FULL_HD))

    with mock.patch.object(FragmentedMp4, "__init__", initialize):
        yield


def measured(pool: ProcessPoolExecutor, way: Way, streams: int, seconds: float, full: bool) -> Figures:
    """Return the figures of all processes, each with its share of the streams."""
    share = (streams // way.processes, seconds, full, way)
    answers = [future.result() for future in [pool.submit(in_a_process, *share) for _ in range(way.processes)]]
    rates, computed = zip(*answers, strict=True)
    return Figures(sum(rates), statistics.mean(computed))


def ways_for(cores: int, full: bool) -> dict[str, Way]:
    """Return the ways that are compared, by name; the reference is the first."""
    ways = {f"1 process, {cores} cores": Way(1, cores)}
    ways |= {"1 process, 1 core": Way(1, 1), f"2 processes, {cores} cores": Way(2, cores)}
    ways[f"1 process, {cores} cores, 2 encoder threads per video"] = Way(1, cores, encoder_threads=2)
    if full:
        ways[f"1 process, {cores} cores, whole pictures converted (before)"] = Way(1, cores, whole=True)
    return ways


def compare(streams: int, seconds: float, runs: int, full: bool) -> dict[str, dict[str, float]]:
    """Measure all ways in turns; return medians, and ratios to the first within each run."""
    ways = ways_for(len(CORES), full)
    figures: dict[str, list[Figures]] = {name: [] for name in ways}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context) as pool:  # the same processes for all ways: starting one takes seconds
        for _ in range(runs):
            for name, way in ways.items():
                figures[name].append(measured(pool, way, streams, seconds, full))
    reference = figures[next(iter(ways))]
    found = {}
    for name, values in figures.items():
        rate, computed = (statistics.median(column) for column in zip(*values, strict=True))
        pairs = list(zip(values, reference, strict=True))
        found[name] = {
            "frames_per_second": round(rate, 1),
            "streams_at_25": round(rate / FRAME_RATE, 1),
            "ratio": round(statistics.median(a.frames_per_second / b.frames_per_second for a, b in pairs), 3),
            "cpu_ms_per_frame": round(computed, 3),
            "cpu_ratio": round(statistics.median(a.cpu_ms_per_frame / b.cpu_ms_per_frame for a, b in pairs), 3),
            "streams_per_core": round(1e3 / computed / FRAME_RATE, 2),
        }
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=4, help="videos side by side, even")
    parser.add_argument("--seconds", type=float, default=1, help="length of each")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the result")
    args = parser.parse_args(argv)
    if args.streams < 2 or args.streams % 2:
        parser.error(f"--streams: expected an even number of at least 2, got {args.streams}")
    forms = {}
    machine = describe()
    for form, full in FORMS.items():
        forms[form] = compare(args.streams, args.seconds, args.runs, full)
        print(form, json.dumps(forms[form], indent=1), flush=True)  # noqa: T201
    what = f"{args.streams} videos of {args.seconds:g} s side by side, networks that answer at once"
    what += f", median of {args.runs} runs in turns"
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "host.json").write_text(json.dumps({"what": what, **machine, "forms": forms}, indent=1) + "\n")
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

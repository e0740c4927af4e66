"""`make bench DEVICE=cuda`: the original algorithm against ours on an NVIDIA GPU, same weights, in turn in one run.

Both in PyTorch, so that the GPU's machine needs no server: the original as published (the whole generator for every
frame, two frames at a time), ours as it is exported (portrait encoded once, fp16 with fp32 islands) in CUDA graphs.
Official sizes, made-up weights. Measures milliseconds per frame by frames at a time, the part reached of the measured
matrix-product ceiling, memory, the first fragment for a short and a long recording, and what fp16 changes. Takes a few
minutes, 8 at most on a large GPU; --seconds bounds each measurement. Writes benchmarks/results/bench_<gpu>.json and
.png.
"""

import argparse
import copy
import json
import statistics
import sys
import wave
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import cv2
import gpu_measures as measures
import numpy as np
import reference
import torch
from gpu_measures import FRAME_RATE, RATE, Timing
from gpu_pipeline import LAYOUTS, Pipeline, Portrait, launcher, network, renderer_inputs
from hardware import describe, describe_gpu
from report import plot_gpu
from rich.console import Console
from rich.progress import Progress
from sadtalker_export.checkpoint import loading
from sadtalker_export.errors import UsageError
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import FRAMES
from sadtalker_export.tensorrt.gpu import Gpu
from sadtalker_runtime.animation import windows
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
FACE = np.s_[31:181, 149:299]  # rows and columns of the example portrait's face, as the server's finder cuts it out
ALIGNED = np.s_[16:240, 16:240]  # of the cut-out face: about what the alignment for the reconstruction shows
RECORDINGS = 2, 60  # seconds
TRAINED_CHUNKS = 5  # of a video by the demo's networks, on which fp16 is judged

Networks = Mapping[str, nn.Module]

console = Console(stderr=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tries the command, in fp32")
    parser.add_argument("--preset", choices=("official", "tiny"), default="official", help="sizes")
    parser.add_argument("--batches", type=int, nargs="+", default=[5, 10, 20, 40], help="frames at a time, by fives")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long each measurement lasts")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--output", type=Path, default=RESULTS, help="directory of the results")
    args = parser.parse_args(argv)
    try:
        path = bench(args)
    except UsageError as error:
        console.print(f"error: {error}", highlight=False, soft_wrap=True)
        return 2
    console.print(str(path), highlight=False, soft_wrap=True)
    return 0


@torch.no_grad()
def bench(args: argparse.Namespace) -> Path:
    """Measure everything and write it down; returns the path of the JSON file."""
    device = usable(args.device)
    if wrong := [batch for batch in args.batches if batch <= 0 or batch % FRAMES]:
        raise UsageError(f"--batches: expected multiples of {FRAMES}, the frames of a chunk, got {wrong[0]}")
    timing = Timing(device, args.seconds, max(args.rounds, 1))
    gpu = describe_gpu() if device.type == "cuda" else None
    result: dict[str, object] = {
        "what": f"median of {timing.rounds} rounds in turn; frames stay on the device, but for the first fragment",
        **describe(),
        "gpu": gpu,
        "preset": args.preset,
    }
    torch.backends.cudnn.benchmark = True  # the fastest kernels, for both sides
    measures.set_tf32()
    with Progress(console=console) as bar:
        task = bar.add_task("made-up weights", total=4 + len(args.batches))
        advance = partial(bar.update, task, advance=1)
        networks = loading.synthetic_networks(PRESETS[args.preset])
        advance(description="matrix products")
        result["ceiling_tflops"] = measures.matrix_ceilings(timing)
        result["gflop_per_frame"] = measures.gflop_per_frame(args.preset)
        advance(description="kernels and layouts")
        comparison = Comparison(networks, max(args.batches) // FRAMES, timing)
        result |= comparison.run(args.batches, result["gflop_per_frame"], result["ceiling_tflops"], advance)
        advance(description="first fragment")
        serving = Pipeline(networks, device, comparison.precision, comparison.layout)
        result["first_fragment_ms"] = {
            f"{seconds}_s": measures.first_fragment(serving, *example_face(), speech(seconds), timing.rounds)
            for seconds in RECORDINGS
        }
        result["psnr_db"] = comparison.quality() | (graphs_and_half(serving) if device.type == "cuda" else {})
        advance()
    args.output.mkdir(parents=True, exist_ok=True)
    path: Path = args.output / f"bench_{slug(args.preset, gpu)}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    plot_gpu(result, path.with_suffix(".png"))
    return path


class Comparison:
    """The original's renderer and ours on the same frames."""

    def __init__(self, networks: Networks, chunks: int, timing: Timing) -> None:
        self.networks, self.timing, device = networks, timing, timing.device
        self.plain = {n: copy.deepcopy(networks[n]).to(device) for n in ("appearance_encoder", "face_renderer")}
        self.exact = Pipeline(networks, device, "fp32", graphs=False)
        self.portrait, self.driving = video(self.exact, chunks)
        self.pair = self.driving[0, : reference.BATCH]
        self.face = torch.from_numpy(example_face()[0])[None].to(device)
        self.originals = measures.PRECISIONS[device.type]
        self.precision = self.originals[-1]
        self.layout = self._fastest_layout()

    def original(self, driving: Tensor) -> Tensor:
        """Render as the original does: [B, 15, 3] -> uint8 [B, 256, 256, 3]."""
        return reference.render(self.plain, self.face, self.portrait.source_keypoints, driving)

    def ours(self, precision: str, layout: str) -> nn.Module:
        return network(self.networks, "face_renderer", precision, layout).to(self.timing.device)

    def run(
        self,
        batches: list[int],
        gflop: Mapping[str, float],
        ceilings: Mapping[str, float],
        advance: Callable[..., None],
    ) -> dict[str, object]:
        """Measure each way to render; those of the original are measured between all of ours."""
        ms_of_original: dict[str, list[float]] = {name: [] for name in self.originals}
        ours = []
        for batch in batches:
            advance(description=f"{batch} frames at a time")
            precisions = dict.fromkeys(("fp32", self.precision)) if batch == min(batches) else (self.precision,)
            for precision in precisions:
                try:
                    ms, original, memory = self._in_turn(precision, batch)
                except torch.cuda.OutOfMemoryError:
                    console.print(f"{batch} frames at a time in {precision} do not fit into the GPU's memory: left out")
                    continue
                times = {n: round(statistics.median(o) / statistics.median(ms), 3) for n, o in original.items()}
                figures = speed(ms, gflop["ours"], ceilings[precision])
                ours.append({"precision": precision, "frames": batch, **figures, "times_original": times, **memory})
                for name, values in original.items():
                    ms_of_original[name] += values
        if not ours:
            raise UsageError(f"--batches: expected one that fits into the GPU's memory, got {batches}")
        original_rows = {
            name: speed(ms, gflop["original"], ceilings[name]) | self._memory_of_original(name)
            for name, ms in ms_of_original.items()
        }
        return {"original": original_rows, "layout": self.layout, "ours": ours}

    def quality(self) -> dict[str, float]:
        """Compare our frames with the original's, both in fp32."""
        ours = self.exact.render(self.portrait, self.driving[:1])[0, : reference.BATCH]
        return {"ours_against_original_fp32": measures.decibels(self.original(self.pair), ours)}

    def _in_turn(self, precision: str, batch: int) -> tuple[list[float], dict[str, list[float]], dict[str, float]]:
        """Measure milliseconds per frame of ours, and of the original in each precision, in turn; gigabytes of ours."""
        module = self.ours(precision, self.layout if precision == self.precision else "contiguous")
        inputs = renderer_inputs(self.portrait, self.driving[: batch // FRAMES])
        taken = measures.memory(self.timing.device)
        ours = partial(launcher(module, inputs), *inputs)
        memory = {"weights_gb": measures.weights_gb(module), **taken()}
        ms: list[float] = []
        ms_of_original: dict[str, list[float]] = {name: [] for name in self.originals}
        for _ in range(self.timing.rounds):
            for name, values in ms_of_original.items():
                with measures.computing(name, self.timing.device):
                    self.original(self.pair)
                    values.append(1e3 * self.timing.of(partial(self.original, self.pair)) / reference.BATCH)
            ms.append(1e3 * self.timing.of(ours) / batch)
        return ms, ms_of_original, memory

    def _memory_of_original(self, precision: str) -> dict[str, float]:
        with measures.computing(precision, self.timing.device):
            taken = measures.memory(self.timing.device)
            self.original(self.pair)
            return {"weights_gb": measures.weights_gb(*self.plain.values()), **taken()}

    def _fastest_layout(self) -> str:
        """Return the memory layout of weights with which a chunk is rendered soonest."""
        if self.timing.device.type != "cuda":
            return "contiguous"
        inputs = renderer_inputs(self.portrait, self.driving[:1])
        seconds = {
            layout: self.timing.of(partial(launcher(self.ours(self.precision, layout), inputs), *inputs))
            for layout in LAYOUTS
        }
        return min(seconds, key=seconds.__getitem__)


def usable(name: str) -> torch.device:
    """Return the device; raise an error where it is missing."""
    if name == "cuda" and not torch.cuda.is_available():
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for CPUs only"
        raise UsageError(
            "--device cuda: expected an NVIDIA GPU that PyTorch can use, found none "
            f"(torch {torch.__version__}, {build})"
        )
    return torch.device(name)


def slug(preset: str, gpu: Mapping[str, object] | None) -> str:
    """Return a file name, such as "nvidia-h200-sm90"; it also names sizes other than the official ones."""
    name = "cpu"
    if gpu is not None:
        major, minor = str(gpu["compute_capability"]).split(".")
        name = Gpu(str(gpu["name"]), (int(major), int(minor))).key
    return name if preset == "official" else f"{preset}_{name}"


def example_face() -> tuple[np.ndarray, np.ndarray]:
    """Return the example's face [3, 256, 256] and the reconstruction's view of it [3, 224, 224]; RGB in [0, 1]."""
    picture = cv2.imread(str(ROOT / "examples" / "portrait.jpg"))[FACE]
    face = cv2.resize(picture, (256, 256), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
    face = np.ascontiguousarray(face.transpose(2, 0, 1), np.float32) / np.float32(255)
    return face, face[:, ALIGNED[0], ALIGNED[1]]


def speech(seconds: float) -> np.ndarray:
    """Return the example speech, over and over: float32 [samples], 16 kHz, in [-1, 1]."""
    with wave.open(str(ROOT / "examples" / "speech.wav")) as file:
        once = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
    return np.resize(once, round(seconds * RATE))


def video(pipeline: Pipeline, chunks: int) -> tuple[Portrait, Tensor]:
    """Return the encoded portrait, and the keypoints [chunks, 5, 15, 3] that drive it as it speaks."""
    needed = windows.needed
    portrait = pipeline.portrait(*example_face())
    frames = RECORDINGS[-1] * FRAME_RATE
    waveform = speech(RECORDINGS[-1])
    coefficients = pipeline.coefficients(portrait.coefficients, waveform, needed(chunks - 1, frames))
    return portrait, pipeline.keypoints(portrait, coefficients, chunks, frames)


def graphs_and_half(serving: Pipeline) -> dict[str, float]:
    """Compare frames of a graph with its module's called plainly; on the demo's trained weights, fp16 with fp32."""
    portrait, driving = video(serving, 1)
    eager = serving.modules["face_renderer"](*renderer_inputs(portrait, driving))
    found = {"graph_against_eager": measures.decibels(eager, serving.render(portrait, driving))}
    _, trained = loading.load_directory(loading.DEMO)
    exact, half = (Pipeline(trained, serving.device, precision, graphs=False) for precision in ("fp32", "fp16"))
    portrait, driving = video(exact, TRAINED_CHUNKS)
    rendered = half.render(half.portrait(*example_face()), driving)
    return found | {"fp16_against_fp32_trained": measures.decibels(exact.render(portrait, driving), rendered)}


def speed(ms: list[float], gflop: float, ceiling_tflops: float) -> dict[str, object]:
    """Compute the figures of one way to render from its milliseconds per frame in each round."""
    median = statistics.median(ms)
    return {
        "ms_per_frame": round(median, 4),
        "rounds": [round(value, 4) for value in ms],
        "frames_per_second": round(1e3 / median, 3),
        "tflops": round(gflop / median, 4),
        "ceiling_fraction": round(gflop / median / ceiling_tflops, 4),
    }


if __name__ == "__main__":
    sys.exit(main())

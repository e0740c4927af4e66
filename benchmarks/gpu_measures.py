"""Measurements of `bench_gpu.py`, one function each: time, memory, ceilings, arithmetic, the first fragment."""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import reference
import torch
from gpu_pipeline import Pipeline
from sadtalker_export.checkpoint.networks import build_networks
from sadtalker_export.precision.metrics import psnr
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import FRAMES, KEYPOINTS, SIZE, SPECS
from sadtalker_runtime.animation import windows
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

RATE = 16_000  # samples of speech per second
FRAME_RATE = 25
PRECISIONS = {"cuda": ("fp32", "tf32", "fp16"), "cpu": ("fp32",)}  # PyTorch lacks kernels in fp16 for CPUs
CEILING_SIDE = {"cuda": 8192, "cpu": 1024}
EQUAL = 100.0  # dB, in the place of infinity


@dataclass(frozen=True)
class Timing:
    """How time is measured."""

    device: torch.device
    seconds: float
    """About how long a measurement lasts."""
    rounds: int

    def of(self, run: Callable[[], object]) -> float:
        """Measure the seconds of a call. The device is waited for at the end only, so that calls queue up as in use."""
        once = self._calls(run, 1)
        return once if once >= self.seconds else self._calls(run, round(self.seconds / once))

    def _calls(self, run: Callable[[], object], count: int) -> float:
        wait(self.device)
        start = time.perf_counter()
        for _ in range(count):
            run()
        wait(self.device)
        return (time.perf_counter() - start) / count


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def set_tf32(convolutions: bool = False, products: bool = False) -> None:
    """Choose where TensorFloat-32 may take the place of float32. PyTorch itself starts with it in convolutions."""
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products


@contextmanager
def computing(precision: str, device: torch.device) -> Iterator[None]:
    """Compute in a precision of the original: fp32, PyTorch's own choice (tf32), or autocast to fp16."""
    set_tf32(convolutions=precision == "tf32")
    try:
        with torch.autocast(device.type, torch.float16, enabled=precision == "fp16"):
            yield
    finally:
        set_tf32()


def memory(device: torch.device) -> Callable[[], dict[str, float]]:
    """Watch from now on; what it gives tells the most gigabytes taken since: by tensors, by PyTorch for them."""
    if device.type != "cuda":
        return dict
    wait(device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    return lambda: {
        "allocated_gb": round((torch.cuda.max_memory_allocated() - allocated) / 1e9, 3),
        "reserved_gb": round((torch.cuda.max_memory_reserved() - reserved) / 1e9, 3),
    }


def weights_gb(*modules: nn.Module) -> float:
    return round(sum(t.nbytes for m in modules for t in m.state_dict().values()) / 1e9, 3)


def matrix_ceilings(timing: Timing) -> dict[str, float]:
    """Measure TFLOP/s of large matrix products, by precision: the best of several."""
    n, found = CEILING_SIDE[timing.device.type], {}
    a, b = torch.randn(2, n, n, generator=torch.Generator().manual_seed(0)).to(timing.device)
    for name in PRECISIONS[timing.device.type]:
        x, y = (a.half(), b.half()) if name == "fp16" else (a, b)
        set_tf32(products=name == "tf32")
        product = partial(torch.mm, x, y, out=torch.empty_like(x))
        product()
        found[name] = round(2e-12 * n**3 / min(timing.of(product) for _ in range(timing.rounds)), 3)
    set_tf32()
    return found


def gflop_per_frame(preset: str) -> dict[str, float]:
    """Count multiplications and additions of convolutions and matrix products without computing any."""
    with torch.device("meta"):
        plain = build_networks(PRESETS[preset], {"appearance_encoder", "face_renderer"})
        ours = SPECS["face_renderer"].build(plain)
        face, source = torch.empty(1, 3, SIZE, SIZE), torch.empty(1, KEYPOINTS, 3)
        driving = torch.empty(1, FRAMES, KEYPOINTS, 3)
        with FlopCounterMode(display=False) as original:
            reference.render(plain, face, source, driving[0, :1])
        appearance = plain["appearance_encoder"](face)
        with FlopCounterMode(display=False) as rewritten:
            ours(appearance, source, driving)
    return {
        "original": round(original.get_total_flops() / 1e9, 3),
        "ours": round(rewritten.get_total_flops() / FRAMES / 1e9, 3),
    }


def first_fragment(
    pipeline: Pipeline, face: np.ndarray, aligned: np.ndarray, waveform: np.ndarray, rounds: int
) -> dict[str, float | None]:
    """Measure median milliseconds, by stage, from a cut-out face and a decoded recording to the video's first bytes.

    `encode` is None where PyAV is not installed; `total` is then without it.
    """
    frames = len(waveform) * FRAME_RATE // RATE
    seconds, fragment = [], None
    captures = pipeline.device.type == "cuda"  # in a first round, which does not count
    for round_ in range(rounds + captures):
        marks = [time.perf_counter()]
        portrait = pipeline.portrait(face, aligned)
        wait(pipeline.device)
        marks.append(time.perf_counter())
        # those that the server asks for first, however long the recording is
        coefficients = pipeline.coefficients(portrait.coefficients, waveform, min(windows.FIRST_RANGE, frames))
        marks.append(time.perf_counter())
        pictures = pipeline.render(portrait, pipeline.keypoints(portrait, coefficients, 1, frames))[0].cpu().numpy()
        marks.append(time.perf_counter())
        fragment = encoded(pictures, waveform, frames)
        marks.append(time.perf_counter())
        if round_ >= captures:
            seconds.append(np.diff(marks))
    names = "portrait", "coefficients", "render", "encode"
    milliseconds: dict[str, float | None] = {
        name: round(float(value), 3) for name, value in zip(names, 1e3 * np.median(seconds, 0), strict=True)
    }
    milliseconds["total"] = round(1e3 * float(np.median(np.sum(seconds, 1))), 3)
    return milliseconds if fragment else {**milliseconds, "encode": None}


def encoded(pictures: np.ndarray, waveform: np.ndarray, frames: int) -> bytes | None:
    """Return the first fragment of a video of so many frames, as the server writes it; None without PyAV."""
    try:
        mp4 = importlib.import_module("sadtalker_runtime.media.mp4")
    except ModuleNotFoundError as error:
        if error.name != "av":
            raise
        return None
    sound = iter(np.split(np.repeat(waveform[: mp4.AAC_BLOCK * 6], 3), 18))  # 0.4 s of it, at 48 kHz, in blocks
    writer = mp4.FragmentedMp4(frames, pictures.shape[2], pictures.shape[1], 1, lambda _: next(sound)[None])
    fragment: bytes = writer.write(pictures)
    writer.close()
    return fragment


def decibels(expected: Tensor, actual: Tensor) -> float:
    """Return PSNR of uint8 frames; `EQUAL` for equal ones."""
    return round(min(psnr(expected.cpu().numpy(), actual.cpu().numpy()), EQUAL), 1)

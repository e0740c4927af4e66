"""The gain of each exact rewrite of the renderer: `python benchmarks/rewrites.py`.

Every rewrite is exported alone, before and after, in official sizes and for one frame, and timed in turn on the CPU
engine that serves (OpenVINO through ONNX Runtime, fp32 unless it says bf16). The arithmetic that it saves is the
prediction; the time that it saves, the outcome. In bf16 the forms round differently: `error` is the root mean square of
what they are off the plain form in fp32, of its own. Writes benchmarks/results/rewrites.json and the table in
benchmarks/README.md.
"""

import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from hardware import describe
from report import write_between
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sadtalker_export.networks.convolution import ConvNorm, inclusive_grid, repeat_pixels
from sadtalker_export.networks.spade_decoder import SpadeBlock
from sadtalker_export.onnx import flops
from sadtalker_export.onnx.graph import OPSET
from sadtalker_export.rewrites.forms import FORMS, NATURAL, SORTED, TILES
from sadtalker_export.rewrites.narrow_convolution import NarrowConvolution
from sadtalker_export.rewrites.renderer import UpConvNorm
from sadtalker_export.rewrites.resize_convolution import ResizeConvolution
from sadtalker_export.rewrites.sorted_axis import OUTPUTS
from sadtalker_export.rewrites.spade import FastSpadeBlock, ModulatedConvolution, Modulation
from sadtalker_export.rewrites.translation import translate
from sadtalker_export.rewrites.volume_sampling import sample_volume
from torch import Tensor, nn

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS = 5


class Lambda(nn.Module):
    """A function of tensors as a module; modules it uses are given too, so that the exporter sees their weights."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


@dataclass(frozen=True)
class Rewrite:
    name: str
    before: nn.Module
    after: nn.Module
    shapes: tuple[tuple[int, ...], ...]
    engine: str = "f32"  # OpenVINO in it; or "bf16", or "cpu" where OpenVINO cannot run the form before
    sorted_after: bool = False  # the form after reads and writes sorted rows or depths, as its neighbours do


def main() -> int:
    torch.manual_seed(0)
    results = [measure(rewrite) for rewrite in track(rewrites(), "rewrites", console=Console(stderr=True))]
    RESULTS.mkdir(exist_ok=True)
    content = {
        "what": f"one frame, official sizes, fp32 unless it says bf16, median of {ROUNDS} pairs",
        **describe(),
        "rewrites": results,
    }
    (RESULTS / "rewrites.json").write_text(json.dumps(content, indent=1) + "\n")
    write_between(RESULTS.parent / "README.md", "rewrites", markdown(results))
    table = Table("rewrite", "GFLOP before", "after", "ms before", "after", "predicted", "measured")
    for r in results:
        numbers = (r["gflop_before"], r["gflop_after"], r["ms_before"], r["ms_after"])
        ratios = (f"{r['predicted']:.2f} x" if r["predicted"] else "", f"{r['measured']:.2f} x")
        table.add_row(r["name"], *(f"{n:.1f}" for n in numbers), *ratios)
    Console().print(table)
    return 0


def markdown(results: list[dict[str, object]]) -> str:
    """Return a table of the results."""
    rows = ["| rewrite | GFLOP | predicted | ms | measured | error |", "|---|---|---|---|---|---|"]
    for r in results:
        gflop = f"{r['gflop_before']:.1f} → {r['gflop_after']:.1f}"
        predicted = f"{r['predicted']:.2f} x" if r["predicted"] else "–"
        ms = f"{r['ms_before']:.0f} → {r['ms_after']:.0f}"
        error = f"{100 * r['error_before']:.2f} → {100 * r['error_after']:.2f} %" if "error_before" in r else ""
        rows.append(f"| {r['name']} | {gflop} | {predicted} | {ms} | {r['measured']:.2f} x | {error} |")
    return "\n".join(rows)


def rewrites() -> list[Rewrite]:
    """Return plain and rewritten form of each piece, with made-up weights."""
    shared = nn.Conv2d(256, 384, 3, padding=1)
    up = ConvNorm(256, 64, dims=3, change="up").eval()
    block = SpadeBlock(256, 64, 256, 128)
    with torch.no_grad():  # a spectral norm of one, as after training
        for conv in (block.conv0, block.conv1, block.conv_skip):
            conv.weight_orig.normal_(std=0.02)
            conv.weight_u.normal_()
            conv.weight_v.normal_()
    fast_block = FastSpadeBlock(block)
    spades = (block.spade0, block.spade1, block.spade_skip)
    occlusion = nn.Conv2d(1792, 1, 7, padding=3)
    wide, modulation = nn.Conv2d(512, 512, 3, padding=1), Modulation(block.spade0)
    down, mask = nn.Conv3d(80, 64, 3, padding=1), nn.Conv3d(112, 16, 7, padding=3)
    volume, features = (1, 32, 16, 64, 64), (1, 4, 16, 64, 64)
    joint = ModulatedConvolution(block.spade0, block.conv0)
    sorted_joint = form("modulated convolution", SORTED, "sorted", joint)
    tiles, sorted_wide = form("convolution", NATURAL, TILES, wide), form("convolution", SORTED, "sorted", wide)
    modulation_tiles = form("modulation", NATURAL, TILES, modulation)
    masks = {name: form("mask", NATURAL, name, mask) for name in ("sorted", "pieces", "outputs")}
    sorted_down = form("volume convolution", SORTED, "sorted", down)
    middle, modulated = ((1, 512, 64, 64),), ((1, 256, 256, 256), (1, 128, 256, 256))
    narrow, narrow_shape = nn.Conv3d(36, 36, 3, padding=1), ((1, 36, 16, 64, 64),)
    deep, masked = ((1, 80, 16, 64, 64),), ((1, 112, 16, 64, 64),)
    return [
        Rewrite(
            "what SPADE reads, at 4 x the size: transposed convolution",
            Lambda(lambda x: shared(repeat_pixels(x, 4)), shared),
            ResizeConvolution(shared.weight, shared.bias, 4),
            ((1, 256, 64, 64),),
        ),
        Rewrite("hourglass, doubling and convolving", up, UpConvNorm(up), ((1, 256, 16, 16, 16),)),
        Rewrite(
            "last SPADE block: folded shortcut, one normalisation, small maps",
            Lambda(lambda x, f: block(repeat_pixels(x), f), block),
            Lambda(
                lambda x, f: fast_block(x, [F.relu(s.shared(repeat_pixels(f, 4))) for s in spades], doubled=True),
                fast_block,
                *spades,
            ),
            ((1, 256, 128, 128), (1, 256, 64, 64)),
        ),
        Rewrite("middle block, convolution by tiles", wide, tiles, middle),
        Rewrite("last SPADE, modulation by tiles", modulation, modulation_tiles, modulated),
        Rewrite("hourglass, convolution on sorted depths", down, sorted_down, deep, sorted_after=True),
        Rewrite("mask, convolution on sorted depths", mask, masks["sorted"], masked),
        Rewrite("bf16: middle block, convolution on sorted rows", wide, sorted_wide, middle, "bf16", True),
        Rewrite("bf16: last SPADE, modulated convolution on sorted rows", joint, sorted_joint, modulated, "bf16", True),
        Rewrite("bf16: hourglass, convolution on sorted depths", down, sorted_down, deep, "bf16", True),
        Rewrite("bf16, not used: middle block, by tiles", wide, tiles, middle, "bf16"),
        Rewrite("bf16: mask on sorted depths, in pieces", mask, masks["pieces"], masked, "bf16"),
        Rewrite("bf16, not used: mask, all taps together", mask, masks["sorted"], masked, "bf16"),
        Rewrite("mask, taps along depth as channels of pictures", mask, masks["outputs"], masked),
        Rewrite("bf16: mask, taps along depth as channels", mask, masks["outputs"], masked, "bf16"),
        Rewrite(
            "demo: hourglass, last layer on pictures", narrow, form("mask", NATURAL, "inputs", narrow), narrow_shape
        ),
        Rewrite(
            "bf16: demo: hourglass, last layer on pictures",
            narrow,
            form("mask", NATURAL, "inputs", narrow),
            narrow_shape,
            "bf16",
        ),
        Rewrite("occlusion map, one output channel", occlusion, NarrowConvolution(occlusion), ((1, 1792, 64, 64),)),
        Rewrite(
            "15 translations of 4 features", Lambda(plain_translate), Lambda(translate), (features, (1, 15, 3)), "cpu"
        ),
        Rewrite("warping the volume", Lambda(plain_warp), Lambda(warp), (volume, (1, 16, 64, 64, 3)), "cpu"),
    ]


def form(kind: str, order: str, name: str, plain: nn.Module) -> nn.Module:
    """Return a layer in a form of the exporter's own list; volumes have 16 slices."""
    return FORMS[kind][order][name](plain, depth=16)


def plain_translate(volume: Tensor, shifts: Tensor) -> Tensor:
    n = shifts.shape[1]
    grids = inclusive_grid(tuple(volume.shape[2:]), volume) + 0.1 * shifts.reshape(n, 1, 1, 1, 3)
    return F.grid_sample(volume.expand(n, -1, -1, -1, -1), grids, align_corners=False)


def plain_warp(volume: Tensor, flow: Tensor) -> Tensor:
    return F.grid_sample(volume, flow, align_corners=False)


def warp(volume: Tensor, flow: Tensor) -> Tensor:
    return sample_volume(volume, flow.unsqueeze(1))


def measure(rewrite: Rewrite) -> dict[str, object]:
    """Measure GFLOP and median milliseconds of both forms, executed in turn."""
    inputs = {f"x{i}": np.random.default_rng(i).standard_normal(s, np.float32) for i, s in enumerate(rewrite.shapes)}
    after = {name: by_remainder(x) for name, x in inputs.items()} if rewrite.sorted_after else inputs
    forms = {"before": (rewrite.before, inputs), "after": (rewrite.after, after)}
    sessions, gflop = {}, {}
    seconds: dict[str, list[float]] = {"before": [], "after": []}
    answers: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as directory:
        for name, (module, values) in forms.items():
            path = Path(directory) / f"{name}.onnx"
            export(module, values, path)
            # OpenVINO and ONNX Runtime's own kernels differ in speed, so both forms run on the same engine.
            sessions[name] = open_session(path, rewrite.engine)
            gflop[name] = flops.count(path).total() / 1e9
        for _ in range(ROUNDS + 1):
            for name, session in sessions.items():
                start = time.perf_counter()
                (answers[name],) = session.run(None, forms[name][1])
                seconds[name].append(time.perf_counter() - start)
        if rewrite.engine == "bf16":
            (exact,) = open_session(Path(directory) / "before.onnx", "f32").run(None, inputs)
    pairs = list(zip(seconds["before"][1:], seconds["after"][1:], strict=True))
    result = {
        "name": rewrite.name,
        "engine": rewrite.engine,
        "gflop_before": gflop["before"],
        "gflop_after": gflop["after"],
        "ms_before": 1e3 * statistics.median(b for b, _ in pairs),
        "ms_after": 1e3 * statistics.median(a for _, a in pairs),
        "predicted": gflop["before"] / gflop["after"] if gflop["before"] > 0.1 else None,
        "measured": statistics.median(b / a for b, a in pairs),
    }
    if rewrite.engine == "bf16":
        result["error_before"] = relative_error(answers["before"], exact)
        result["error_after"] = relative_error(answers["after"], by_remainder(exact) if rewrite.sorted_after else exact)
    return result


def by_remainder(x: np.ndarray) -> np.ndarray:
    """Return rows or depths as `sorted_axis` has them."""
    return np.concatenate([x[:, :, p::OUTPUTS] for p in range(OUTPUTS)], 2)


def relative_error(values: np.ndarray, exact: np.ndarray) -> float:
    return float(np.sqrt(np.square(values - exact).mean() / np.square(exact).mean()))


def export(module: nn.Module, inputs: dict[str, np.ndarray], path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        arrays = tuple(torch.from_numpy(a) for a in inputs.values())
        opset = 20 if any(a.ndim == 5 for a in inputs.values()) else OPSET  # 5-D GridSample came with opset 20
        program = torch.onnx.export(
            module.eval(), arrays, dynamo=True, opset_version=opset, input_names=list(inputs), verbose=False
        )
    onnx.save(program.model_proto, path)


def open_session(path: Path, engine: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    settings = {"CPU": {"INFERENCE_PRECISION_HINT": engine, "NUM_STREAMS": "1"}}
    openvino = ("OpenVINOExecutionProvider", {"device_type": "CPU", "load_config": json.dumps(settings)})
    providers = ["CPUExecutionProvider"] if engine == "cpu" else [openvino]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


if __name__ == "__main__":
    sys.exit(main())

"""Steps of `make gpu-proof`: how fast the renderer could be, compiled, and in int8 or fp8.

`compiled` compares a chunk by the module called plainly, in a CUDA graph, and by `torch.compile`. `narrow` times the
matrix products that the renderer's 2-D convolutions amount to, in the precision served and in int8 and fp8: by how
much the convolutions could shrink at best. Neither is what is served.
"""

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bench_gpu import usable, video
from gpu_measures import PRECISIONS, Timing, set_tf32
from gpu_pipeline import Pipeline, launcher, network, renderer_inputs
from rich.console import Console
from sadtalker_export.checkpoint import loading
from sadtalker_export.errors import UsageError
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import FRAMES
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ROWS = {"cuda": 1 << 16, "cpu": 1 << 8}
"""Products with more rows are timed with this many; their time grows in proportion."""
UNIT = 16
"""int8 and fp8 products want sizes of whole sixteens: others are rounded up."""
Product = tuple[int, int, int]
"""Rows, columns and terms of a matrix product."""


class ConvolutionProducts(TorchFunctionMode):
    """A mode that counts the matrix products of 2-D convolutions without groups."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        answer = func(*args, **(kwargs or {}))
        if func is F.conv2d:
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            if weight.shape[1] == args[0].shape[1]:
                self.products[answer.numel() // answer.shape[1], len(weight), weight[0].numel()] += 1
        return answer


def compiled(networks: Mapping[str, nn.Module], timing: Timing) -> dict[str, Any]:
    """Return milliseconds per frame of one chunk by way, in turns, and the ratios to the plain call."""
    device = timing.device
    precision = PRECISIONS[device.type][-1]
    module = network(networks, "face_renderer", precision).to(device)
    portrait, driving = video(Pipeline(networks, device, "fp32", graphs=False), 1)
    inputs = renderer_inputs(portrait, driving)
    ways: dict[str, Callable[[], object]] = {"plain": partial(module, *inputs)}
    if device.type == "cuda":
        ways["cuda_graph"] = partial(launcher(module, inputs), *inputs)
    ways["torch_compile"] = partial(torch.compile(module), *inputs)
    expected = module(*inputs)
    differences = {name: int((way().int() - expected.int()).abs().max()) for name, way in ways.items()}  # type: ignore[attr-defined]
    ms: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(timing.rounds):
        for name, way in ways.items():
            ms[name].append(1e3 * timing.of(way) / FRAMES)
    rows = {
        name: {
            "ms_per_frame": round(statistics.median(values), 4),
            "times_plain": round(statistics.median(p / v for p, v in zip(ms["plain"], values, strict=True)), 3),
            "largest_difference": differences[name],
        }
        for name, values in ms.items()
    }
    return {"what": "one chunk of 5 frames; differences in grey levels", "precision": precision, "ways": rows}


def narrow(networks: Mapping[str, nn.Module], timing: Timing) -> dict[str, Any]:
    """Return milliseconds of a chunk's convolutions as matrix products, by precision; None where there is no kernel."""
    device = timing.device
    wide = PRECISIONS[device.type][-1]
    module = network(networks, "face_renderer", "fp32").to(device)
    portrait, driving = video(Pipeline(networks, device, "fp32", graphs=False), 1)
    with ConvolutionProducts() as counted:
        module(*renderer_inputs(portrait, driving))
    makers = {wide: _wide_product, "int8": _int8_product, "fp8": _fp8_product}
    ms: dict[str, float | None] = {}
    reasons = {}
    for name, make in makers.items():
        try:
            ms[name] = round(sum(_milliseconds(make, p, n, timing) for p, n in counted.products.items()), 3)
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            ms[name], reasons[name] = None, str(error).partition("\n")[0][:200]
    flops = sum(2 * rows * columns * terms * n for (rows, columns, terms), n in counted.products.items())
    return {
        "what": "a chunk's 2-D convolutions as plain matrix products, without what gathers their operands",
        "gflop_per_frame": round(flops / FRAMES / 1e9, 3),
        "products": len(counted.products),
        "ms_per_chunk": ms,
        "times": {name: round(float(ms[wide] or 0) / value, 3) for name, value in ms.items() if value},
        "not_available": reasons,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("compiled", "narrow"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--preset", choices=PRESETS, default="official", help="sizes, with made-up weights")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long each measurement lasts")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    args = parser.parse_args(argv)
    try:
        timing = Timing(usable(args.device), args.seconds, max(args.rounds, 1))
    except UsageError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, soft_wrap=True)
        return 2
    set_tf32()
    with torch.no_grad():
        networks = loading.synthetic_networks(PRESETS[args.preset])
        result = (compiled if args.step == "compiled" else narrow)(networks, timing)
    args.output.write_text(json.dumps({**result, "device": args.device, "preset": args.preset}, indent=1) + "\n")
    return 0


def _milliseconds(make: Callable[..., Callable[[], object]], product: Product, count: int, timing: Timing) -> float:
    rows, columns, terms = product
    taken = min(rows, ROWS[timing.device.type])
    sizes = tuple(-(-size // UNIT) * UNIT for size in (taken, columns, terms))
    run = make(sizes, timing.device)
    run()
    return 1e3 * timing.of(run) * count * rows / taken


def _wide_product(product: Product, device: torch.device) -> Callable[[], object]:
    rows, columns, terms = product
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return partial(torch.mm, *(torch.randn(*shape, device=device).to(dtype) for shape in _shapes(rows, columns, terms)))


def _int8_product(product: Product, device: torch.device) -> Callable[[], object]:
    a, b = (torch.randint(-127, 128, shape, dtype=torch.int8, device=device) for shape in _shapes(*product))
    return partial(torch._int_mm, a, b.t().contiguous().t())


def _fp8_product(product: Product, device: torch.device) -> Callable[[], object]:
    a, b = (torch.randn(*shape, device=device).to(torch.float8_e4m3fn) for shape in _shapes(*product))
    one: Tensor = torch.ones((), device=device)
    b = b.t().contiguous().t()  # by columns, as the kernel wants it
    return partial(torch._scaled_mm, a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)


def _shapes(rows: int, columns: int, terms: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (rows, terms), (terms, columns)


if __name__ == "__main__":
    sys.exit(main())

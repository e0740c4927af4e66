"""`sadtalker-export onnx`: export the networks to ONNX, check them against PyTorch, install them for Triton."""

import argparse
from pathlib import Path

from rich.console import Console

from ..checkpoint.loading import OFFICIAL, load_weights
from ..console import progress
from ..errors import UsageError
from ..onnx.repository import PRECISIONS, export_repository
from ..specs import SIZE, SIZES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo` for small trained networks "
        "in this package, or `tiny` for smaller ones with synthetic weights",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        help="Triton model repository (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="fp32: for CPUs; fp16: half precision inside the networks that gain from it, for GPUs; bf16: fp32, "
        "and the files that `sadtalker-server --model-config-name bf16` runs on a CPU (default: fp32)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES,
        default=SIZE,
        help="edge of the rendered picture in pixels, each with its own checkpoint; "
        "`sadtalker-server --model-config-name 512` runs 512 (default: 256)",
    )


def run(args: argparse.Namespace) -> int:
    if args.size != SIZE and args.precision == "bf16":
        raise UsageError(f"--precision bf16 goes with --size {SIZE}, got {args.size}")
    console = Console(stderr=True)
    with progress(console) as bar:
        loading_task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights, args.size)
        bar.update(loading_task, total=1, completed=1)
        exported = export_repository(networks, preset.name, args.repository, bar, args.precision, args.size)
    kind = f"{preset.name}, {args.size} pixels, {args.precision}"
    console.print(f"{len(exported)} networks ({kind}) in {args.repository}")
    return 0

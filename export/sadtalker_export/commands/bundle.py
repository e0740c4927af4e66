"""`sadtalker-export bundle`: pack the demo's networks for the wheel that carries them."""

import argparse
import json
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from sadtalker_runtime.bundle import BundleError, pack
from sadtalker_runtime.processor import this_processor
from torch import nn

from ..checkpoint.loading import load_weights
from ..console import add_repository_argument, progress
from ..errors import CheckFailedError
from ..onnx.dependencies import DISTRIBUTIONS
from ..onnx.repository import export_repository
from ..precision.verdict import passes_bf16
from .onnx import known_gates

VERSIONS = "versions.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_repository_argument(parser, "model repository to export the networks into, unless it has them")
    parser.add_argument("--bundle", type=Path, help="folder of packed networks (default: the runtime package's own)")


def run(args: argparse.Namespace) -> int:
    bundle = args.bundle or Path(str(files("sadtalker_runtime") / "demo"))
    console = Console(stderr=True)
    with progress(console) as bar:
        preset, networks = load_weights("demo")
        gates = judged(networks, bundle, bar)
        export_repository(
            networks, preset.name, args.repository, bar, "bf16", gates=gates
        )  # includes the files in fp32
        task = bar.add_task("packing", total=1)
        try:
            pack(args.repository, bundle)
        except BundleError as error:
            raise CheckFailedError(str(error)) from error
        versions = {name: version(name).partition("+")[0] for name in DISTRIBUTIONS}
        (bundle / VERSIONS).write_text(json.dumps(versions, indent=2) + "\n")
        bar.advance(task)
    packed = sum(path.stat().st_size for path in bundle.glob("*.xz"))
    verdict = "bf16 passes its gate" if gates["bf16"] else "bf16 does not pass its gate: these networks run in fp32"
    console.print(f"{packed / 1e6:.1f} MB in {bundle}; {verdict}")
    return 0


def judged(networks: Mapping[str, nn.Module], bundle: Path, bar: Progress) -> dict[str, bool]:
    """Return the verdict of the bf16 gate, on which servers that unpack the bundle rely.

    A processor that does not compute in bf16 cannot judge; there it is the verdict in the bundle.

    Raises `CheckFailedError` where that is missing or about other weights.
    """
    if this_processor().computes_bf16:
        task = bar.add_task("judging frames in bf16", total=1)
        verdict = passes_bf16(networks)
        bar.advance(task)
        return {"bf16": verdict}
    known = known_gates(bundle, networks)
    if "bf16" not in known:
        raise CheckFailedError(
            "expected a processor that computes in bf16 (avx512_bf16, amx_bf16), to judge these weights in it"
        )
    return known

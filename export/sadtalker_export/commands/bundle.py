"""`sadtalker-export bundle`: pack the demo's networks for the wheel that carries them."""

import argparse
import json
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from sadtalker_runtime.bundle import BundleError, pack

from ..checkpoint.loading import load_weights
from ..console import progress
from ..errors import CheckFailedError
from ..onnx.dependencies import DISTRIBUTIONS
from ..onnx.repository import export_repository

VERSIONS = "versions.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        help="model repository to export the networks into, unless it has them (default: %(default)s)",
    )
    parser.add_argument("--bundle", type=Path, help="folder of packed networks (default: the runtime package's own)")


def run(args: argparse.Namespace) -> int:
    bundle = args.bundle or Path(str(files("sadtalker_runtime") / "demo"))
    console = Console(stderr=True)
    with progress(console) as bar:
        preset, networks = load_weights("demo")
        export_repository(networks, preset.name, args.repository, bar)
        task = bar.add_task("packing", total=1)
        try:
            pack(args.repository, bundle)
        except BundleError as error:
            raise CheckFailedError(str(error)) from error
        versions = {name: version(name).partition("+")[0] for name in DISTRIBUTIONS}
        (bundle / VERSIONS).write_text(json.dumps(versions, indent=2) + "\n")
        bar.advance(task)
    packed = sum(path.stat().st_size for path in bundle.rglob("*.xz"))
    console.print(f"{packed / 1e6:.1f} MB in {bundle}")
    return 0

"""`sadtalker-export tensorrt`: build engines for this machine's GPU from the networks that were exported to ONNX.

Engines are kept in a cache, one folder per TensorRT version and GPU, and copied into the repository as model.plan.
"""

import argparse
from pathlib import Path

from rich.console import Console

from ..console import add_repository_argument
from ..restoration_specs import SERVED_SPECS
from ..specs import SPECS
from ..tensorrt import convolutions
from ..tensorrt.build import graph, install, job
from ..tensorrt.engine import LEVEL, LEVELS, EngineError, TensorRT
from ..tensorrt.gpu import current_gpu
from ..tensorrt.operators import refusals

CACHE = Path("~/.cache/sadtalker/engines")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    add_repository_argument(parser, "model repository with exported networks")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where engines are kept (default: %(default)s)")
    names = [spec.name for spec in SERVED_SPECS.values() if spec.tensorrt]
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=names, help=f"build only these of {', '.join(names)}"
    )
    parser.add_argument(
        "--optimization-level",
        type=int,
        choices=LEVELS,
        default=LEVEL,
        help="how many kernels TensorRT tries; the time and size of every build go to builds.jsonl beside the engines "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list what would be built; needs neither TensorRT nor a GPU"
    )


def run(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    wanted = args.only or [name for name in SERVED_SPECS if name in SPECS or graph(name, args.repository).is_file()]
    specs = [spec for spec in SERVED_SPECS.values() if spec.tensorrt and spec.name in wanted]
    jobs = [job(spec, args.repository, args.optimization_level) for spec in specs]
    refused = [f"{j.graph}: {reason}" for j in jobs for reason in refusals(j.graph)]
    if refused:
        raise EngineError("TensorRT does not support these nodes:\n" + "\n".join(refused))
    if args.dry_run:
        dry = Console()
        dry.print(f"{args.cache}/<TensorRT version>-<GPU>/")
        for each in jobs:
            half = convolutions.of_graph(each.graph)
            dry.print(f"  {each.plan_name}: {half} convolutions in half precision", soft_wrap=True)
        return 0
    tensorrt, gpu = TensorRT(), current_gpu()
    folder = args.cache.expanduser() / f"{tensorrt.version}-{gpu.key}"
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"TensorRT {tensorrt.version} on {gpu.name}, engines in {folder}")
    for each in jobs:
        console.print(f"{each.spec.name}: {install(each, tensorrt, folder, console)}")
    return 0

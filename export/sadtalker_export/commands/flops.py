"""`sadtalker-export flops`: count the arithmetic of the exported graphs."""

import argparse

from rich.console import Console
from rich.table import Table
from sadtalker_runtime.enhancers import ENHANCERS

from ..console import add_repository_argument
from ..errors import UsageError
from ..onnx.flops import count
from ..restoration_specs import SERVED_SPECS
from ..specs import FRAMES, SPECS

PER_FRAME = ("motion", "face_renderer", *(enhancer.model for enhancer in ENHANCERS.values()))
"""Networks whose item is a chunk of FRAMES frames."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    add_repository_argument(parser, "model repository with exported networks")
    parser.add_argument("--nodes", metavar="NETWORK", help="list this network's costliest nodes instead")


def run(args: argparse.Namespace) -> int:
    console = Console()
    table = Table("network", "GFLOP per item", "GFLOP per frame", title="Multiplications and additions of the graphs")
    for name in SERVED_SPECS:
        path = args.repository / name / "1" / "model.onnx"
        if not path.is_file():
            if name not in SPECS:
                continue
            raise UsageError(f"{path}: not found; `sadtalker-export onnx` writes it")
        if args.nodes not in (None, name):
            continue
        nodes = count(path)
        total = sum(nodes.values()) / 1e9
        table.add_row(name, f"{total:.2f}", f"{total / FRAMES:.2f}" if name in PER_FRAME else "")
        if args.nodes == name:
            table = Table("node", "GFLOP per item", title=name)
            for node, flops in nodes.most_common(40):
                table.add_row(node, f"{flops / 1e9:.2f}")
    console.print(table)
    return 0

"""`sadtalker-export parity`: compare the networks and the server's arithmetic with reference figures."""

import argparse
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..parity.bench import Bench
from ..parity.comparison import Row, compare, load, planned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--figures", type=Path, required=True, metavar="FILE.npz", help="the reference arrays")
    parser.add_argument("--prefix", default="", help="prefix of every generated input's name (default: none)")
    parser.add_argument(
        "--runtime",
        choices=("torch", "onnx"),
        default="torch",
        help="run plain PyTorch, or the exported graph wherever a network has one (default: torch)",
    )


def run(args: argparse.Namespace) -> int:
    figures = load(args.figures)
    bench = Bench(figures, prefix=args.prefix, runtime=args.runtime)
    plan = planned(figures)
    columns = (TextColumn("{task.description}"), BarColumn(None), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(plan))
        rows = []
        for producer in plan:
            progress.update(task, description=producer.name)
            rows += compare(bench, producer, args.runtime)
            progress.advance(task)
            remaining = plan[plan.index(producer) + 1 :]
            bench.release({name for later in remaining for name in later.networks | later.exported})
    order = list(figures)
    rows.sort(key=lambda row: order.index(row.array))
    over = [row.array for row in rows if not row.passed]
    console = Console()
    console.print(table(rows))
    console.print(f"{len(rows)} arrays, {len(over)} over tolerance" + (f": {', '.join(over)}" if over else ""))
    return 1 if over else 0


def table(rows: list[Row]) -> Table:
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    result.add_column("array", no_wrap=True)
    result.add_column("engine")
    result.add_column("max abs diff", justify="right")
    result.add_column("tolerance", justify="right")
    result.add_column("")
    for row in rows:
        unit = " sd" if row.tolerance.relative else ""
        verdict = "[green]ok[/]" if row.passed else "[red]over[/]"
        result.add_row(
            row.array, row.engine, f"{row.difference:.2e}{unit}", f"{row.tolerance.value:.2g}{unit}", verdict
        )
    return result

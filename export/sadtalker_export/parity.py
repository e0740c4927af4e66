"""`sadtalker-export parity`: the networks and the server's arithmetic against reference figures."""

import argparse
import importlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .errors import UsageError
from .figures.bench import Array, Bench, Figures
from .figures.registry import PRODUCERS, Producer, Tolerance

for _group in ("preparation", "sadtalker", "restoration"):  # modules that register producers, in the order they are run
    importlib.import_module(f".figures.{_group}", __package__)


@dataclass(frozen=True)
class Row:
    """One compared array: what computed it, and how far it is from the figure."""

    array: str
    engine: str
    difference: float  # NaN where either holds NaN, infinite where shapes differ
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance.value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--figures", type=Path, required=True, metavar="FILE.npz", help="the reference arrays")
    parser.add_argument("--prefix", default="", help="put before the name of every generated input (default: nothing)")
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


def load(path: Path) -> Figures:
    """The arrays of a file. Raises `UsageError` for a file that is not one of arrays."""
    if not path.is_file():
        raise UsageError(f"{path}: not found")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise UsageError(f"{path}: not a readable .npz file of arrays ({error})") from error


def planned(figures: Figures) -> list[Producer]:
    """The producers that a file needs. Raises `UsageError` for an array that none of them makes."""
    wanted = [name for name in figures if not any(p.inputs.fullmatch(name) for p in PRODUCERS)]
    if unknown := [name for name in wanted if not any(p.arrays.fullmatch(name) for p in PRODUCERS)]:
        raise UsageError(f"nothing here computes {', '.join(map(repr, unknown))}")
    if not wanted:
        raise UsageError(f"the figures hold nothing to compare, only {', '.join(map(repr, figures)) or 'no arrays'}")
    return [p for p in PRODUCERS if any(p.arrays.fullmatch(name) for name in wanted)]


def compare(bench: Bench, producer: Producer, runtime: str) -> list[Row]:
    """Compute the arrays of one producer and compare those that the figures hold."""
    engine = producer.engine(runtime)
    tolerance = producer.tolerances[engine]
    with torch.no_grad():
        values = {name: np.asarray(value, np.float64) for name, value in producer.compute(bench).items()}
    names = [name for name in bench.figures if producer.arrays.fullmatch(name)]
    return [Row(n, engine, difference(bench.figures[n], values[n], tolerance), tolerance) for n in names]


def difference(figure: Array, value: npt.NDArray[np.float64], tolerance: Tolerance) -> float:
    """Largest absolute difference, in the tolerance's unit."""
    if figure.shape != value.shape:
        return float("inf")
    expected = figure.astype(np.float64)
    largest = float(np.abs(expected - value).max(initial=0.0))
    return largest / float(expected.std()) if tolerance.relative else largest


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

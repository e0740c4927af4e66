"""`sadtalker-compare`: measures, weighs and ranks talking-head systems, and writes a report."""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from sadtalker_runtime.version import VERSION


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="sadtalker-compare",
        description="Compare talking-head systems by weighted criteria, and write a report.",
        allow_abbrev=False,
    )
    parser.add_argument("plan", type=Path, help="TOML file with the clips, the candidates and your judgements")
    parser.add_argument(
        "--output", "-o", type=Path, default=Path("out/comparison"), metavar="DIR", help="of the report"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random weights of the sensitivity analysis (0)")
    parser.add_argument("--version", action="version", version=f"sadtalker-compare {VERSION}")
    args = parser.parse_args(arguments)
    try:
        from sadtalker_compare import comparison
    except ModuleNotFoundError as error:
        print(f"sadtalker-compare: expected the package {error.name}: pip install '.[compare]'", file=sys.stderr)
        return 1
    from sadtalker_compare.errors import ComparisonError

    console = Console(stderr=True)
    try:
        plan = comparison.read_plan(args.plan)
        with (
            tempfile.TemporaryDirectory(prefix="sadtalker-compare-") as folder,
            Progress(
                TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
            ) as progress,
        ):
            task = progress.add_task("", total=comparison.steps(plan))
            result = comparison.compare(
                plan, Path(folder), args.seed, lambda text: progress.update(task, description=text, advance=1)
            )
        page = comparison.write(args.output, result)
    except ComparisonError as error:
        print(f"sadtalker-compare: {error}", file=sys.stderr)
        return 1
    table = Table("Rank", "Candidate", "TOPSIS", "VIKOR", "first in", title="Ranking")
    ranking = result.ranking
    for place, index in enumerate(ranking.order):
        scores = (
            f"{ranking.topsis[index]:.3f}",
            f"{ranking.vikor[index]:.3f}",
            f"{100 * ranking.shares[index, 0]:.0f} %",
        )
        table.add_row(str(place + 1), ranking.candidates[index], *scores)
    out = Console()
    out.print(table)
    for name, ratio in result.weights.consistency.items():
        verdict = "" if ratio <= comparison.CONSISTENT else ": these judgements contradict each other"
        out.print(f"consistency ratio of {name}: {ratio:.3f}{verdict}")
    out.print(str(page))
    return 0

"""Arguments and progress that several commands share."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn


def add_repository_argument(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add `--repository`, a model repository; `purpose` begins its line of help."""
    default = Path("model_repository")
    parser.add_argument("--repository", type=Path, default=default, help=f"{purpose} (default: %(default)s)")


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show a spinner, the step's name and the time it has taken."""
    with Progress(SpinnerColumn(), "{task.description}", TimeElapsedColumn(), console=console) as bar:
        yield bar

"""Progress on the terminal, the same way in every command."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Show a spinner, the step's name and the time it has taken."""
    with Progress(SpinnerColumn(), "{task.description}", TimeElapsedColumn(), console=console) as bar:
        yield bar

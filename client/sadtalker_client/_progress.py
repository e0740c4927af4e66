"""Measuring how fast a video arrives, and showing it on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ._wire import FRAMES_PER_SECOND, Fragment

_SECONDS_BETWEEN_LINES = 5.0


class Meter:
    """Stopwatch of one animation, started by its construction; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.seconds = 0.0
        self.first_fragment_seconds: float | None = None
        self.frames = 0
        self.bytes = 0

    def add(self, fragment: Fragment) -> None:
        """Count a fragment that has arrived."""
        self.seconds = self._clock() - self._start
        if self.first_fragment_seconds is None:
            self.first_fragment_seconds = self.seconds
        self.frames = fragment.frames_done
        self.bytes += len(fragment.data)

    @property
    def frames_per_second(self) -> float:
        """Return frames per second of waiting."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def real_time_factor(self) -> float:
        """Return seconds of waiting per second of video: below 1 is faster than real time."""
        return self.seconds * FRAMES_PER_SECOND / self.frames if self.frames else 0.0

    def report(self) -> dict[str, float | int | None]:
        """Return all figures, under the names that `--json` prints."""
        return {
            "frames": self.frames,
            "bytes": self.bytes,
            "video_seconds": self.frames / FRAMES_PER_SECOND,
            "seconds": round(self.seconds, 3),
            "first_fragment_seconds": self.first_fragment_seconds and round(self.first_fragment_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
            "real_time_factor": round(self.real_time_factor, 3),
        }

    def __str__(self) -> str:
        return (
            f"{self.frames_per_second:.1f} frames/s, first fragment after {self.first_fragment_seconds or 0:.2f} s, "
            f"real-time factor {self.real_time_factor:.2f}"
        )


@contextmanager
def shown_progress(meter: Meter) -> Iterator[Callable[[Fragment], None]]:
    """Provide a callback for fragments that feeds `meter` and shows it on stderr: a bar on a terminal, else lines."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(meter, console)
        return
    # At most 70 columns wide: whatever does not fit into the terminal's 80 is cut off.
    columns = (BarColumn(bar_width=20), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for the first fragment", total=None)

        def show(fragment: Fragment) -> None:
            meter.add(fragment)
            done, total = fragment.frames_done, fragment.frames_total
            description = f"{done}/{total} frames, {meter.frames_per_second:.1f} frames/s"
            progress.update(task, completed=done, total=total, description=description)

        yield show


def _lines(meter: Meter, console: Console) -> Callable[[Fragment], None]:
    shown_at = 0.0

    def show(fragment: Fragment) -> None:
        nonlocal shown_at
        meter.add(fragment)
        if meter.seconds >= shown_at + _SECONDS_BETWEEN_LINES:
            shown_at = meter.seconds
            console.print(f"{fragment.frames_done}/{fragment.frames_total} frames, {meter}", soft_wrap=True)

    return show

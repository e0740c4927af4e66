"""How fast a video comes, and showing it to a person."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ._wire import FRAMES_PER_SECOND, Fragment

_SECONDS_BETWEEN_LINES = 5.0


class Meter:
    """Measures one animation from its construction on; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.seconds = 0.0
        self.first_fragment_seconds: float | None = None
        self.frames = 0
        self.bytes = 0

    def add(self, fragment: Fragment) -> None:
        """To be called when a fragment has arrived."""
        self.seconds = self._clock() - self._start
        if self.first_fragment_seconds is None:
            self.first_fragment_seconds = self.seconds
        self.frames = fragment.frames_done
        self.bytes += len(fragment.data)

    @property
    def frames_per_second(self) -> float:
        """Frames made per second of waiting."""
        return self.frames / self.seconds if self.seconds else 0.0

    @property
    def real_time_factor(self) -> float:
        """Seconds of waiting per second of video: below 1 is faster than real time."""
        return self.seconds * FRAMES_PER_SECOND / self.frames if self.frames else 0.0

    def report(self) -> dict[str, float | int | None]:
        """All figures under the names that `--json` prints."""
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
    """A callback for fragments that feeds `meter` and shows it on stderr: a bar on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(meter, console)
        return
    columns = (
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} frames"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for the first fragment", total=0)

        def show(fragment: Fragment) -> None:
            meter.add(fragment)
            progress.update(task, completed=fragment.frames_done, total=fragment.frames_total, description=str(meter))

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

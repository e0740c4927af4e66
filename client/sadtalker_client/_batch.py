"""Many videos, some at a time: what is there is not made again, every result is a line of JSON."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ._async_client import AsyncSadTalkerClient
from ._exceptions import QueueFullError, SadTalkerError, ServerUnavailableError
from ._options import Options
from ._pairs import Pair
from ._wire import Fragment

RETRIES = 5  # of a video whose server was full or away
FIRST_PAUSE_SECONDS = 1.0  # before the first of them; each further pause is twice as long


@dataclass
class Tally:
    """How a batch ended: numbers of videos, and whether it was given up because there was no server."""

    made: int = 0
    skipped: int = 0
    failed: int = 0
    unavailable: ServerUnavailableError | None = field(default=None)


def is_complete(pair: Pair) -> bool:
    """Return whether the video is there and not older than its portrait and recording.

    A video appears under its name only when it is whole, so one that was broken off never counts.
    """
    if not pair.output.is_file():
        return False
    sources = [path.stat().st_mtime for path in (pair.portrait, pair.speech) if path is not None and path.exists()]
    return all(pair.output.stat().st_mtime >= changed for changed in sources)


async def run_batch(
    client: AsyncSadTalkerClient,
    pairs: Sequence[Pair],
    options: Options,
    *,
    results: Path,
    at_once: int,
    again: bool = False,
    timeout: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Tally:
    """Make the videos of `pairs`, `at_once` at a time, and append a line to `results` for each that ended.

    A line has portrait, speech, output, seconds (of waiting), frames, error (null when it was made) and request_id.
    Videos that are complete are skipped unless `again`. One that fails does not stop the others; a server that stays
    away does, and is in the tally. Cancelling it cancels the work on the server and leaves no partial file.

    Raises OSError if the results or a video cannot be written.
    """
    tally = Tally()
    waiting = [pair for pair in pairs if again or not is_complete(pair)]
    tally.skipped = len(pairs) - len(waiting)
    queue = iter(waiting)
    with results.open("a", encoding="utf-8") as lines, _Shown(len(pairs), tally) as shown:

        async def work() -> None:
            for pair in queue:  # the workers share one iterator
                if tally.unavailable:
                    return
                start, task = clock(), shown.begin(pair)
                try:
                    frames, error, request_id = await _attempt(client, pair, options, timeout, shown, task)
                finally:
                    shown.end(task)
                seconds = round(clock() - start, 3)
                if isinstance(error, ServerUnavailableError) and not isinstance(error, QueueFullError):
                    tally.unavailable = error
                tally.made += error is None
                tally.failed += error is not None
                record = {
                    "portrait": str(pair.portrait),
                    "speech": str(pair.speech) if pair.speech else None,
                    "output": str(pair.output),
                    "seconds": seconds,
                    "frames": frames,
                    "error": str(error) if error else None,
                    "request_id": request_id,
                }
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")
                lines.flush()
                shown.ended(pair, frames, seconds, error)

        workers = [asyncio.create_task(work()) for _ in range(min(at_once, len(waiting)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return tally


async def _attempt(
    client: AsyncSadTalkerClient,
    pair: Pair,
    options: Options,
    timeout: float | None,
    shown: "_Shown",
    task: TaskID | None,
) -> tuple[int, SadTalkerError | None, str]:
    """Make one video; return its frames, what went wrong, and the id of the last request."""
    pause = FIRST_PAUSE_SECONDS
    for left in reversed(range(RETRIES + 1)):
        frames = 0

        def progress(fragment: Fragment) -> None:
            nonlocal frames
            frames = fragment.frames_done
            shown.advance(task, fragment)

        animation = client.animate(pair.portrait, pair.speech, timeout=timeout, **options)
        try:
            await animation.save(pair.output, progress)
            return frames, None, animation.request_id
        except ServerUnavailableError as error:
            if not left:
                return 0, error, animation.request_id
        except SadTalkerError as error:
            return 0, error, animation.request_id
        await asyncio.sleep(pause)
        pause *= 2
    raise AssertionError("unreachable")


class _Shown:
    """Progress on stderr: on a terminal a bar for the batch and one per video in progress, else a line per video."""

    def __init__(self, total: int, tally: Tally) -> None:
        self._total, self._tally = total, tally
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        if self._console.is_terminal:
            columns = (
                BarColumn(bar_width=16),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[what]}"),
            )
            self._progress = Progress(*columns, console=self._console, transient=True)

    def __enter__(self) -> "_Shown":
        if self._tally.skipped:
            self._say(f"{self._tally.skipped} of {self._total} are there already")
        if self._progress:
            self._progress.start()
            self._all = self._progress.add_task("", total=self._total, completed=self._tally.skipped, what="videos")
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def begin(self, pair: Pair) -> TaskID | None:
        return self._progress.add_task("", total=None, what=pair.output.name) if self._progress else None

    def advance(self, task: TaskID | None, fragment: Fragment) -> None:
        if self._progress and task is not None:
            self._progress.update(task, completed=fragment.frames_done, total=fragment.frames_total)

    def end(self, task: TaskID | None) -> None:
        if self._progress and task is not None:
            self._progress.remove_task(task)

    def ended(self, pair: Pair, frames: int, seconds: float, error: SadTalkerError | None) -> None:
        count = self._tally.made + self._tally.skipped + self._tally.failed
        if self._progress:
            self._progress.update(self._all, completed=count)
        outcome = f"failed: {' '.join(str(error).split())}" if error else f"{frames} frames in {seconds:.1f} s"
        self._say(f"{count}/{self._total} {pair.output}: {outcome}")

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)


def report(tally: Tally, results: Path) -> dict[str, Any]:
    """Return the tally as `--json` prints it."""
    return {"made": tally.made, "skipped": tally.skipped, "failed": tally.failed, "results": str(results)}

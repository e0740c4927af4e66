"""Decides which chunk of which video is rendered next: first chunks first, then the one that is due soonest."""

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from sadtalker_runtime.animation.windows import CHUNK
from sadtalker_runtime.timing import FRAME_RATE


class Admission:
    """A limit on the chunks that are rendered at a time, over all videos; the most urgent one that waits goes first.

    Belongs to the event loop in which it is used.

    Args:
        chunks: how many are rendered at a time; the renderer makes batches of these.
    """

    def __init__(self, chunks: int) -> None:
        self._free = chunks
        self._waiting: list[tuple[tuple[bool, float], int, asyncio.Future[None]]] = []
        self._arrivals = count()  # of two equally urgent chunks, the one that came first

    @asynccontextmanager
    async def place(self, urgency: tuple[bool, float]) -> AsyncIterator[None]:
        """Wait for a place and keep it inside `async with`; the smallest `urgency` goes first."""
        if self._free > 0:  # nobody waits then
            self._free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (urgency, next(self._arrivals), turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # cancelled just as it was given the place
                    self._pass_on()
                raise
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            *_, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Schedule:
    """The times at which the chunks of one video are due, if it is played as soon as its first chunk is there."""

    def __init__(self, start: float) -> None:
        """Note that the video was requested at `start`, in seconds of the event loop's clock."""
        self._start = start
        self._shown: float | None = None

    def rendered(self, now: float) -> None:
        """Note that a chunk was rendered; playback starts with the first."""
        if self._shown is None:
            self._shown = now

    def urgency(self, chunk: int) -> tuple[bool, float]:
        """Return the sort key of a chunk over all videos: first chunks by age, then the others by due time."""
        if chunk == 0:
            return False, self._start
        start = self._start if self._shown is None else self._shown
        return True, start + chunk * CHUNK / FRAME_RATE

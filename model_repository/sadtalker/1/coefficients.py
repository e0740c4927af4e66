"""The coefficients that drive a video, asked for a little ahead of the renderer."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from .windows import SIZE, ranges

Fetch = Callable[[int, int], Awaitable[np.ndarray]]
"""Gives the coefficients of frames [start, stop): float32 [stop - start, 70]."""


class CoefficientStream:
    """Fetches range after range, one of them ahead of what is needed: never the whole clip at once.

    Must be made in a running event loop and closed.
    """

    def __init__(self, frames: int, fetch: Fetch) -> None:
        self._fetch = fetch
        self._ranges = ranges(frames)
        self._values = np.empty((frames, SIZE), np.float32)
        self._known = 0
        self._coming = self._ask()

    async def first(self, count: int) -> np.ndarray:
        """The coefficients of at least the first `count` frames: float32 [n, 70]. Raises what `fetch` raises."""
        while self._known < count:
            self._known = await self._coming
            self._coming = self._ask()
        return self._values[: self._known]

    async def close(self) -> None:
        """Stops asking."""
        self._coming.cancel()
        await asyncio.gather(self._coming, return_exceptions=True)

    def _ask(self) -> asyncio.Task[int]:
        return asyncio.create_task(self._store(*next(self._ranges, (self._known, self._known))))

    async def _store(self, start: int, stop: int) -> int:
        if start < stop:
            self._values[start:stop] = await self._fetch(start, stop)
        return stop

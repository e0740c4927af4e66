"""The coefficients that drive a video, requested a little ahead of the renderer."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain

import numpy as np

from sadtalker_runtime.animation.windows import RADIUS, SIZE, ranges
from sadtalker_runtime.arrays import Array

Fetch = Callable[[int, int], Awaitable[Array]]
"""A function that returns the coefficients of frames [start, stop): float32 [stop - start, 70]."""


class CoefficientStream:
    """A stream of coefficients, fetched range by range, one range ahead of need and never the whole clip at once.

    The first frames of a loop also see its last ones, so those are fetched first (and again in their turn).
    Must be made in a running event loop and closed.
    """

    def __init__(self, frames: int, fetch: Fetch, loops: bool = False) -> None:
        self._fetch = fetch
        ends = [(frames - RADIUS, frames)] if loops else []
        self._ranges = chain(ends, ranges(frames))
        self._values = np.empty((frames, SIZE), np.float32)
        self._known = 0
        self._coming = self._ask()

    async def first(self, count: int) -> Array:
        """Return coefficients float32 [frames, 70]: the first `count` are filled in, in a loop also the last 13.

        Raises what `fetch` raises.
        """
        while self._known < count:
            self._known = await self._coming
            self._coming = self._ask()
        return self._values

    async def close(self) -> None:
        """Stop fetching."""
        self._coming.cancel()
        await asyncio.gather(self._coming, return_exceptions=True)

    def _ask(self) -> asyncio.Task[int]:
        return asyncio.create_task(self._store(*next(self._ranges, (self._known, self._known))))

    async def _store(self, start: int, stop: int) -> int:
        if start < stop:
            self._values[start:stop] = await self._fetch(start, stop)
        return stop if start <= self._known else self._known

"""Idle loops, rendered once for each portrait and its options, and kept."""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable

from sadtalker_runtime.live.face import Face, Rest, remaining, rest_of


class RestCache:
    """The most recently used loops; sessions that ask for the same one share its rendering. A failed one is not kept.

    Args:
        frames: of a loop.
        entries: how many are kept, at 0.2 MB per frame of 256 pixels.
    """

    def __init__(self, frames: int, entries: int) -> None:
        self._frames = frames
        self._entries = entries
        self._starting: OrderedDict[Hashable, asyncio.Task[Rest]] = OrderedDict()
        self._rendering: set[asyncio.Task[None]] = set()

    async def get(self, face: Face, moving: bool, *key: Hashable) -> Rest:
        """Return the loop of a face by a key, or its one frame at rest; it is completed in the background.

        Raises what the face's models raise.
        """
        key = moving, *key
        starting = self._starting.get(key)
        if starting is None:
            starting = asyncio.ensure_future(rest_of(face, self._frames if moving else 1))
            starting.add_done_callback(lambda done: self._complete(face, done, key))
            self._starting[key] = starting
            while len(self._starting) > self._entries:
                self._starting.popitem(last=False)
        self._starting.move_to_end(key)
        return await asyncio.shield(starting)

    def _complete(self, face: Face, starting: asyncio.Task[Rest], key: Hashable) -> None:
        if starting.cancelled() or starting.exception() is not None:
            self._forget(key, starting)
            return
        rest = starting.result()
        rendering = asyncio.ensure_future(rest.render(face, remaining(rest)))
        self._rendering.add(rendering)
        rendering.add_done_callback(lambda done: self._rendered(done, key, starting))

    def _rendered(self, rendering: asyncio.Task[None], key: Hashable, starting: asyncio.Task[Rest]) -> None:
        self._rendering.discard(rendering)
        if rendering.cancelled() or rendering.exception() is not None:
            self._forget(key, starting)  # this face holds still; the next session tries again

    def _forget(self, key: Hashable, starting: asyncio.Task[Rest]) -> None:
        if self._starting.get(key) is starting:
            del self._starting[key]

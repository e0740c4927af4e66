"""Back-pressure: how much of a video its listener has not acknowledged yet.

Triton 2.51 takes every response of a stream at once, however slowly the caller reads, so a model cannot see a slow
reader. Callers therefore acknowledge what they have read; a caller who never does gets at most `limit` bytes ahead.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

POLL_SECONDS = 0.2  # how soon a paused video notices that its caller has left


class StalledError(Exception):
    """The listener has acknowledged nothing for too long."""


class Listener:
    """The receiver of one video. Belongs to the event loop in which it is used.

    Args:
        limit: bytes that may be sent and not acknowledged; one fragment more is let through.
        patience: how long a video waits for an acknowledgement, seconds.
    """

    def __init__(self, limit: int, patience: float) -> None:
        self._limit = limit
        self._patience = patience
        self._sent: deque[tuple[int, int]] = deque()  # fragments that are not acknowledged: frames done, bytes
        self._unread = 0
        self._taken = asyncio.Event()

    @property
    def unread(self) -> int:
        """Bytes that were sent and are not acknowledged."""
        return self._unread

    @property
    def behind(self) -> bool:
        """Whether so much is unread that nothing more may be sent."""
        return self._unread >= self._limit

    def sent(self, frames_done: int, size: int) -> None:
        """Note a sent fragment of `size` bytes, with which `frames_done` frames are complete."""
        self._sent.append((frames_done, size))
        self._unread += size

    def acknowledge(self, frames_done: int) -> None:
        """Note that the listener has read all fragments up to the one that completes `frames_done` frames."""
        while self._sent and self._sent[0][0] <= frames_done:
            self._unread -= self._sent.popleft()[1]
            self._taken.set()

    async def catches_up(self, gone: Callable[[], bool]) -> bool:
        """Wait until more may be sent; return False when the listener is `gone`.

        Raises:
            StalledError: nothing was acknowledged for `patience` seconds.
        """
        loop = asyncio.get_running_loop()
        unread, since = self._unread, loop.time()
        while self.behind:
            if gone():
                return False
            if self._unread < unread:
                unread, since = self._unread, loop.time()
            elif loop.time() - since > self._patience:
                raise StalledError(
                    f"the video was given up: expected an acknowledgement within {self._patience:g} s,"
                    f" got none with {self._unread} bytes sent and not acknowledged (limit {self._limit})"
                )
            self._taken.clear()
            with suppress(TimeoutError, asyncio.TimeoutError):  # two classes in Python 3.10
                await asyncio.wait_for(self._taken.wait(), POLL_SECONDS)
        return True

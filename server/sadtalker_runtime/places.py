"""Admission of videos: a fixed number are made at once, a fixed number wait in line, and the rest are refused.

The line is the model's own. In Triton's queue a request's time-out is only looked at when the requests before it have
moved on, so that one without a time-out would hold up all behind it.
"""

import asyncio
from collections import deque
from collections.abc import Callable

POLL_SECONDS = 0.5  # how soon a waiting video notices that its caller has left
FULL, TIMEOUT, CANCELLED, STOPPING = REASONS = "full", "timeout", "cancelled", "stopping"


class NoPlaceError(Exception):
    """The refusal of a video that gets no place; `reason` is one of REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Places:
    """Places for videos, given in the order of arrival. Belongs to the event loop in which it is used.

    Args:
        places: videos that may have one at a time.
        most_waiting: videos that may wait for one.
    """

    def __init__(self, places: int, most_waiting: int) -> None:
        self._places, self._free, self._most_waiting = places, places, most_waiting
        self._line: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """Videos that wait for a place."""
        return len(self._line)

    async def enter(self, timeout: float, gone: Callable[[], bool]) -> None:
        """Take a place, which the caller must `leave`.

        Args:
            timeout: seconds that the video may wait; 0 is without limit.
            gone: says whether the video's caller has left.

        Raises:
            NoPlaceError: there is none, and no room to wait or no more time; or the caller has left; or all who wait
                were turned away.
        """
        if self._free:
            self._free -= 1
            return
        if len(self._line) >= self._most_waiting:
            raise NoPlaceError(
                FULL,
                f"Exceeds maximum queue size: {self._places} videos are being made and {self._most_waiting} wait, try"
                " again later or elsewhere",
            )
        place = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await self._wait(place, timeout, gone)
        except BaseException:
            if place in self._line:
                self._line.remove(place)
            elif place.done() and place.exception() is None:
                self.leave()  # it was given just as the waiting ended
            raise

    def leave(self) -> None:
        """Give a place back, to the first in line."""
        if self._line:
            self._line.popleft().set_result(None)
        else:
            self._free += 1

    def turn_away(self, message: str) -> None:
        """Turn away all videos in line, with a NoPlaceError that says `message`."""
        while self._line:
            self._line.popleft().set_exception(NoPlaceError(STOPPING, message))

    @staticmethod
    async def _wait(place: asyncio.Future[None], timeout: float, gone: Callable[[], bool]) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + (timeout or float("inf"))
        while True:
            await asyncio.wait({place}, timeout=min(POLL_SECONDS, max(deadline - clock(), 0)))
            if place.done():
                return place.result()
            if clock() >= deadline:
                raise NoPlaceError(TIMEOUT, f"no place for this video became free within {timeout:g} s")
            if gone():
                raise NoPlaceError(CANCELLED, "cancelled by the caller")

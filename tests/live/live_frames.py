"""Frames of a live session on the real server, received for tests."""

import time
from collections.abc import Callable

from sadtalker_client import (
    AsyncLiveSession,
    LiveFrame,
)

RATE = 16_000  # Hz, of the speech that tests send


async def frames_of(session: AsyncLiveSession, until: Callable[[LiveFrame], bool] = lambda _: False) -> list[LiveFrame]:
    """Receive frames until the session ends, or until the first for which `until` is true, which is included."""
    frames = []
    async for frame in session:
        frames.append(frame)
        if until(frame):
            break
    return frames


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for a condition; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)

"""Watches the shared memory through which the models' processes pass tensors; without enough of it no video is made.

The Python backend grows its regions as needed and never shrinks them. When it cannot get more, single requests fail
while everything else looks healthy, tritonserver's own readiness included.
"""

import os
import time
from collections.abc import Callable

from sadtalker_server._errors import LaunchError

_FOLDER = "/dev/shm"
_LEAST = 128 << 20  # tiny networks need 70 MB for two videos one after the other, demo networks more
_LEAST_FREE = 1 << 20  # regions grow by so much or more
_PATIENCE_SECONDS = 60.0


def room() -> tuple[int, int]:
    """Return the free and all bytes."""
    found = os.statvfs(_FOLDER)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def check_shared_memory(room: Callable[[], tuple[int, int]] = room) -> None:
    """Raise LaunchError where there is too little for any video."""
    try:
        free, size = room()
    except OSError as error:
        raise LaunchError(f"shared memory: {_FOLDER} cannot be used: {error.strerror}") from error
    if free < _LEAST:
        raise LaunchError(
            f"shared memory: expected at least {_LEAST >> 20} MB free in {_FOLDER}, better 1 GB, "
            f"got {free >> 20} MB of {size >> 20} MB; a container gets more by --shm-size or by a volume in memory"
        )


class SharedMemory:
    """A watch over shared memory while a server runs.

    Args:
        room: gives the free and all bytes.
        clock: seconds.
        patience: seconds for which it may be full.
    """

    def __init__(
        self,
        room: Callable[[], tuple[int, int]] = room,
        clock: Callable[[], float] = time.monotonic,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._room, self._clock, self._patience = room, clock, patience
        self._full_since: float | None = None

    def is_full(self) -> bool:
        """Return whether no region can grow any more."""
        return self._room()[0] < _LEAST_FREE

    def is_given_up(self) -> bool:
        """Return whether it has been full for a minute, as far as these calls tell; a moment is normal under load."""
        now = self._clock()
        if not self.is_full():
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        return self._full_since is not None and now - self._full_since >= self._patience

    def describe(self) -> str:
        """Say that it is full, and how much there is."""
        return f"shared memory is full: {self._room()[1] >> 20} MB in {_FOLDER} are too few"

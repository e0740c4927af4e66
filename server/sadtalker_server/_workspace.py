"""A launcher's temporary folder and shared memory, and the removal of those that a killed launcher left behind.

A folder belongs to whoever holds the lock on its file `owner`: the launcher and, by inheritance, every process that
it started. The kernel releases the lock when the last of them is dead, whatever killed it, so a lock that can be taken
proves that nobody uses the folder any more; a process id would prove nothing beyond its own namespace.
"""

import fcntl
import os
import secrets
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from sadtalker_server._processes import find_orphans

_PREFIX = "sadtalker-server-"
_SHARED_MEMORY = Path("/dev/shm")
_REGION_PREFIX = "sadtalker_"
_ORPHAN_SECONDS = 2.0  # for the kernel to take back what a killed process held


class Workspace:
    """A folder `path` for files, and a prefix `region_prefix` for names of shared memory."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self.region_prefix = f"{_REGION_PREFIX}{os.getpid()}_{secrets.token_hex(4)}_"
        # Locked before it gets its name: a folder whose `owner` can be locked has lost its owner.
        nameless = self.path / "nameless"
        self.lock = os.open(nameless, os.O_CREAT | os.O_RDWR, 0o600)
        os.write(self.lock, self.region_prefix.encode())
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        nameless.rename(self.path / "owner")

    def remove_regions(self) -> None:
        """Remove the shared memory."""
        _remove_regions(self.region_prefix)

    def remove(self) -> None:
        """Remove folder and shared memory."""
        self.remove_regions()
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def sweep() -> list[Path]:
    """Remove the folders, and the shared memory, of launchers of which no process lives; returns the folders.

    Processes of models whose launcher and tritonserver are dead are killed first.
    """
    swept = []
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/"):
        with suppress(OSError):  # another's, just being made, or just being swept
            owner = os.open(folder / "owner", os.O_RDWR | os.O_NOFOLLOW)
            try:
                prefix = os.read(owner, 100).decode(errors="replace")
                known = prefix.startswith(_REGION_PREFIX) and prefix[len(_REGION_PREFIX) :].replace("_", "").isalnum()
                if known:
                    _end_orphans(prefix)
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if known:
                    _remove_regions(prefix)
                shutil.rmtree(folder)
                swept.append(folder)
            finally:
                os.close(owner)
    return swept


def _end_orphans(prefix: str) -> None:
    """Kill the processes of models that outlived their tritonserver, as they sometimes do, and wait for their end."""
    orphans = find_orphans(prefix)
    for orphan in orphans:
        with suppress(OSError):
            os.kill(orphan, signal.SIGKILL)
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while orphans and set(orphans) & set(find_orphans(prefix)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _remove_regions(prefix: str) -> None:
    for region in _SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)

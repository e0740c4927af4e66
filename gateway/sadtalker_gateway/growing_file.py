"""A temporary file that is read while it is still being written."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

_PIECE = 256 * 1024  # bytes


class GrowingFile:
    """Bytes appended by one task and followed by any number of readers, who wait for more until it is closed.

    Belongs to one event loop. The file is deleted when `discard` is called or the object is collected.
    """

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="sadtalker-", suffix=".mp4", buffering=0)  # noqa: SIM115
        self._changed = asyncio.Event()
        self.size = 0
        self.closed = False
        self.error: Exception | None = None

    @property
    def path(self) -> Path:
        """The path of the file."""
        return Path(self._file.name)

    def append(self, data: bytes) -> None:
        """Add bytes and wake the readers."""
        self._file.write(data)
        self.size += len(data)
        self._wake()

    def close(self, error: Exception | None = None) -> None:
        """End the file; with an error, readers get it after the bytes before it. A second call has no effect."""
        if not self.closed:
            self.closed, self.error = True, error
            self._wake()

    async def wait_for_bytes(self) -> None:
        """Return as soon as the first bytes are there; raise the error that came instead."""
        while not self.size and not self.closed:
            await self._changed.wait()
        if not self.size and self.error:
            raise self.error

    async def follow(self, start: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield all bytes from `start` on as they come."""
        with self.path.open("rb") as file:
            while True:
                changed = self._changed
                while start < self.size:
                    file.seek(start)
                    data = file.read(min(_PIECE, self.size - start))
                    start += len(data)
                    yield data
                if self.closed:
                    break
                if start == self.size:
                    await changed.wait()
        if self.error:
            raise self.error

    def read_from(self, start: int) -> bytes:
        """Return the bytes from `start` to the present end."""
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(self.size - start)

    def discard(self) -> None:
        """Delete the file; readers that have it open may finish."""
        self._file.close()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

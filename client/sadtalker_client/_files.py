"""Reading the files to send, within the upload limits, and writing the video that arrives."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias
from uuid import uuid4

from ._exceptions import InvalidInputError

Source: TypeAlias = bytes | str | os.PathLike[str]
"""The bytes of a file, or the path of one."""
Photos: TypeAlias = Source | Sequence[Source]
"""A portrait, or 1 to 8 photos of one person, the portrait first."""

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """The largest files, in bytes, that the client sends; None leaves it to the server, whose defaults are the same.

    `video` holds for each of `driving`, `pose_reference` and `blink_reference`.
    """

    picture: int | None = 32 * _MIB
    speech: int | None = 128 * _MIB
    video: int | None = 512 * _MIB


UNLIMITED = UploadLimits(None, None, None)


def read_source(name: str, source: Source, limit: int | None = None) -> bytes:
    """Return the bytes of `source`, at most `limit` of them; `name` is what an error calls it.

    Raises InvalidInputError if there are none, too many, or the file cannot be read. A file that is too large is not
    read into memory.
    """
    if isinstance(source, bytes):
        content, size, origin = source, len(source), "bytes"
    elif isinstance(source, str | os.PathLike):
        origin = os.fspath(source)
        try:
            content, size = _read_file(origin, limit)
        except OSError as error:
            raise InvalidInputError(f"{name}: cannot read {origin}: {error.strerror}") from error
    else:
        raise InvalidInputError(f"{name}: expected bytes or a path, got {type(source).__name__}")
    if limit is not None and size > limit:
        raise InvalidInputError(f"{name}: expected at most {limit} bytes ({limit / _MIB:.3g} MiB), got {size}")
    if not content:
        raise InvalidInputError(f"{name}: expected the content of a file, got 0 bytes ({origin})")
    return content


def _read_file(path: str, limit: int | None) -> tuple[bytes, int]:
    """Return a file's content and size; of a file above `limit`, not all of the content."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # 0 for a pipe
        content = b"" if limit is not None and size > limit else file.read(-1 if limit is None else limit + 1)
    return content, max(size, len(content))


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file that appears under `path` when the block ends well, and leaves nothing behind when it does not."""
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"expected a file to write, got the directory {target}")
    if target.exists() and not target.is_file():  # a device or a pipe must be written to, not replaced
        with target.open("wb") as file:
            yield file
        return
    partial = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)

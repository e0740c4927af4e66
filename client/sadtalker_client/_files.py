"""Reading what is sent and writing what arrives."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias
from uuid import uuid4

from ._exceptions import InvalidInputError

Source: TypeAlias = bytes | str | os.PathLike[str]
"""The bytes of a file, or the path of one."""


def read_source(name: str, source: Source) -> bytes:
    """The bytes of `source`; `name` is what an error calls it. Raises InvalidInputError if there are none."""
    if isinstance(source, bytes):
        content, origin = source, "bytes"
    elif isinstance(source, str | os.PathLike):
        origin = os.fspath(source)
        try:
            content = Path(source).read_bytes()
        except OSError as error:
            raise InvalidInputError(f"{name}: cannot read {origin}: {error.strerror}") from error
    else:
        raise InvalidInputError(f"{name}: expected bytes or a path, got {type(source).__name__}")
    if not content:
        raise InvalidInputError(f"{name}: expected the content of a file, got 0 bytes ({origin})")
    return content


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that appears under `path` when the block ends well, and leaves nothing when it does not."""
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

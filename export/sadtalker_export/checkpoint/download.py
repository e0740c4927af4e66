"""Resumable downloads of large files over HTTP, checked before they get their names."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckFailedError

BLOCK = 1 << 20  # bytes
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 5  # in a row without a new byte
BACKOFF = 1.0  # seconds before the second attempt, doubled before every further one

Advance = Callable[[int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file whose content is known in advance."""

    url: str
    size: int  # bytes
    sha256: str

    @property
    def name(self) -> str:
        """Return the last part of the URL."""
        return self.url.rpartition("/")[2]


class _LostError(Exception):
    """A missing or broken answer; trying again may help."""


class _RefusedError(Exception):
    """An answer that trying again will not change."""


def fetch(file: RemoteFile, directory: Path, on_bytes: Advance) -> Path:
    """Download a file into a directory; bytes of an earlier attempt in `<name>.partial` are kept and continued.

    `on_bytes` is called after every block with the number of bytes so far. The file gets its name only when its
    size and SHA-256 are right. Raises `CheckFailedError` when they are not, or when the server cannot deliver.
    """
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / (file.name + ".partial")
    if _length(partial) > file.size:
        partial.unlink()
    continued = _length(partial) > 0
    _complete(file, partial, on_bytes)
    if sha256(partial) != file.sha256 and continued:  # the old part may belong to another file: start over
        partial.unlink()
        _complete(file, partial, on_bytes)
    if (found := sha256(partial)) != file.sha256:
        partial.unlink()
        raise CheckFailedError(f"{file.url}: expected SHA-256 {file.sha256}, got {found}; the file is not kept")
    return partial.replace(directory / file.name)


def is_intact(path: Path, file: RemoteFile) -> bool:
    """Return whether a file on disk has the size and SHA-256 it must have."""
    return _length(path) == file.size and sha256(path) == file.sha256


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _complete(file: RemoteFile, partial: Path, on_bytes: Advance) -> None:
    """Request bytes until the file is complete; give up after `ATTEMPTS` in a row without a new byte."""
    furthest, fruitless = _length(partial), 0
    while _length(partial) < file.size:
        problem = "the connection ended early"
        try:
            _continue(file, partial, on_bytes)
        except _RefusedError as error:
            raise CheckFailedError(f"{file.url}: {error}") from error
        except _LostError as error:
            problem = str(error)
        have = _length(partial)
        if have > furthest:
            furthest, fruitless = have, 0
            continue
        fruitless += 1
        if fruitless == ATTEMPTS:
            raise CheckFailedError(
                f"{file.url}: {problem} ({have} of {file.size} bytes are there; {ATTEMPTS} attempts)"
            )
        time.sleep(BACKOFF * 2 ** (fruitless - 1))


def _continue(file: RemoteFile, partial: Path, on_bytes: Advance) -> None:
    """Make one request for the bytes that are still missing."""
    have = _length(partial)
    with _open(file.url, have) as response:
        resumed = response.status == 206  # a plain 200 sends the file from the start
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise _RefusedError(f"asked for the bytes from {have} on, got {response.headers.get('Content-Range')!r}")
        offered = _offered_size(response)
        if offered not in (None, file.size):
            raise _RefusedError(f"expected {file.size} bytes, the server offers {offered}")
        done = have if resumed else 0
        on_bytes(done)
        with partial.open("ab" if resumed else "wb") as stream:
            while done < file.size and (block := _read(response, min(BLOCK, file.size - done))):
                stream.write(block)
                done += len(block)
                on_bytes(done)


def _open(url: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            answer = f"the server answered {error.code} {error.reason}"
            raise (_LostError if error.code == 429 or error.code >= 500 else _RefusedError)(answer) from error
    except urllib.error.URLError as error:
        raise _LostError(f"no connection to the server ({error.reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(f"no answer from the server ({error!r})") from error
    return response


def _read(response: http.client.HTTPResponse, most: int) -> bytes:
    try:
        return response.read1(most)
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(f"the connection broke ({error!r})") from error


def _offered_size(response: http.client.HTTPResponse) -> int | None:
    """Return the length of the whole file as the server states it."""
    text = response.headers.get("Content-Length")
    if response.status == 206:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text and text.isdigit() else None


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

"""The object store: bytes under slash-separated names, in a local folder, S3, Azure Blob Storage or Google's."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store, from_url

log = logging.getLogger(__name__)

_PIECE = 256 * 1024  # bytes, of a stream's pieces at least


@dataclass(frozen=True)
class StoredObject:
    """Name, size in bytes and time of the last change of an object."""

    name: str
    size: int
    changed_at: datetime


class Storage:
    """One store.

    Args:
        url: file://FOLDER (a relative one, too), s3://, az://, gs:// or memory://.
        options: of obstore for that kind of store, such as endpoint.
        signed_url_seconds: how long URLs of `signed_url` are valid.
    """

    def __init__(self, url: str, options: dict[str, str] | None = None, signed_url_seconds: int = 3600) -> None:
        kind, _, place = url.partition("://")
        extra: dict[str, Any] = dict(options or {})
        if kind == "file":
            folder = Path(place).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            url, extra["mkdir"] = folder.as_uri(), True
        if str(extra.get("endpoint", "")).startswith("http://"):  # an emulator or a store within the cluster
            extra["client_options"] = {"allow_http": True}
        try:
            self._store: Any = from_url(url, **extra)
        except BaseException as error:
            # obstore answers some options that it does not know with an error and others with a panic.
            if not isinstance(error, BaseError) and type(error).__name__ != "PanicException":
                raise
            names = sorted(options or {})
            raise ValueError(f"store, store_options: expected obstore's options for {url}, got {names}") from error
        self._signed_url_seconds = signed_url_seconds
        self._signs = isinstance(self._store, S3Store | AzureStore | GCSStore)

    async def put(self, name: str, content: bytes | Path) -> None:
        """Write an object at once: readers see it whole or not at all. A path is the file to upload."""
        await obstore.put_async(self._store, name, content)

    async def get(self, name: str) -> bytes | None:
        """Return an object's content, None if there is none."""
        try:
            answer = await obstore.get_async(self._store, name)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None

    async def head(self, name: str) -> StoredObject | None:
        """Return what is known of an object, None if there is none."""
        try:
            meta = await obstore.head_async(self._store, name)
        except FileNotFoundError:
            return None
        return StoredObject(meta["path"], meta["size"], meta["last_modified"])

    async def stream(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`; FileNotFoundError if there is no such object."""
        answer = await obstore.get_async(self._store, name, options={"range": (start, end)})
        async for piece in answer.stream(_PIECE):
            yield bytes(piece)

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield all objects under a folder, in no particular order."""
        async for batch in obstore.list(self._store, prefix):
            for meta in batch:
                yield StoredObject(meta["path"], meta["size"], meta["last_modified"])

    async def delete(self, *names: str) -> None:
        """Delete objects; one that is not there is no error."""
        for name in names:
            try:
                await obstore.delete_async(self._store, name)
            except FileNotFoundError:
                continue

    async def signed_url(self, name: str) -> str | None:
        """Return a URL that anybody may read for a while, None where the store cannot sign."""
        if not self._signs:
            return None
        url: str = await obstore.sign_async(self._store, "GET", name, timedelta(seconds=self._signed_url_seconds))
        return url

"""Answers HTTP for the server: probes and metrics, nothing else.

Triton's own HTTP front end stays closed, because 200 kB of nested `[` sent to it crash tritonserver 2.51; callers of
models use gRPC. Every connection here gets one answer, and is bounded in size and in time, a slow one included. When
all places are taken the oldest connection is closed for the newest, so that nobody can keep the probes out.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import NamedTuple

_LONGEST_HEAD = 8192  # bytes of request line and headers
_SECONDS = 10.0  # for a whole connection
_CONNECTIONS = 64
_THREADS = 2


class Page(NamedTuple):
    """The answer to a GET."""

    status: HTTPStatus
    text: str


class Front:
    """An HTTP server in a thread of its own.

    Args:
        host, port: where to listen; raises OSError when that is not possible.
        quick: pages by path, made within milliseconds.
        slow: pages by path that may take seconds; two threads make them.
    """

    def __init__(
        self, host: str, port: int, quick: Mapping[str, Callable[[], Page]], slow: Mapping[str, Callable[[], Page]]
    ) -> None:
        self._quick, self._slow = quick, slow
        self._connections: dict[asyncio.Task[None], None] = {}
        self._pool = ThreadPoolExecutor(_THREADS, "metrics")
        self._listener = socket.create_server((host, port), backlog=_CONNECTIONS)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close the port and every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, sock=self._listener, limit=_LONGEST_HEAD)
        await self._stop.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        if len(self._connections) >= _CONNECTIONS:
            oldest = next(iter(self._connections))
            self._connections.pop(oldest)
            oldest.cancel()
        self._connections[connection] = None
        try:
            await asyncio.wait_for(self._answer(reader, writer), _SECONDS)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # gone, too slow, or the oldest of too many
        finally:
            self._connections.pop(connection, None)
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = "GET"
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            page = Page(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {_LONGEST_HEAD} bytes of headers\n")
        else:
            method, _, rest = head.split(b"\r\n")[0].decode("latin-1").partition(" ")
            target, _, version = rest.partition(" ")
            page = await self._page(method, target.partition("?")[0], version)
        body = page.text.encode()
        lines = [
            f"HTTP/1.1 {page.status.value} {page.status.phrase}",
            "Content-Type: text/plain; version=0.0.4; charset=utf-8",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "Connection: close",
        ]
        if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
            lines.append("Allow: GET, HEAD")
        writer.write("\r\n".join([*lines, "", ""]).encode() + (b"" if method == "HEAD" else body))
        writer.close()
        await writer.wait_closed()

    async def _page(self, method: str, path: str, version: str) -> Page:
        if not version.startswith("HTTP/1."):
            return Page(HTTPStatus.BAD_REQUEST, "this is an HTTP/1.1 server\n")
        if method not in ("GET", "HEAD"):
            return Page(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n")
        if path in self._quick:
            return self._quick[path]()
        if path in self._slow:
            return await self._loop.run_in_executor(self._pool, self._slow[path])
        paths = ", ".join([*self._quick, *self._slow])
        return Page(HTTPStatus.NOT_FOUND, f"there is {paths}; models are called over gRPC\n")

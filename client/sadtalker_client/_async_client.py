"""The client for asyncio: the same names and meanings as in `_client`, with `await` in front."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ._acknowledgements import AsyncRequests
from ._channel import READINESS_POLL_SECONDS, TLS, Endpoint
from ._exceptions import (
    AnimationCancelledError,
    SadTalkerError,
    ServerUnavailableError,
    from_rpc,
    means_not_ready,
)
from ._files import Source, atomic_write
from ._options import Options
from ._wire import MODEL, Fragment, ResponseReader, build_request

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncSadTalkerClient:
    """`SadTalkerClient` for asyncio. It may be created anywhere and belongs to the event loop that first uses it."""

    def __init__(
        self,
        url: str = "127.0.0.1:8001",
        *,
        timeout: float | None = None,
        tls: TLS | bool | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._endpoint = Endpoint(url, tls, metadata)
        self._timeout = timeout
        self._channel: Any = None

    def animate(
        self,
        portrait: Source,
        speech: Source | None = None,
        *,
        timeout: float | None = None,
        **options: "Unpack[Options]",
    ) -> "AsyncAnimation":
        """The animation of one portrait and what moves it; see `SadTalkerClient.animate` for the arguments.

        Files are read and the request is sent when the animation is first awaited, and errors come from there.
        """

        return self._animation(timeout, build_request, portrait, speech, options)

    async def poster(
        self,
        portrait: Source,
        speech: Source | None = None,
        *,
        timeout: float | None = None,
        **options: "Unpack[Options]",
    ) -> bytes:
        """The first frame of the animation that `animate` would make of the same arguments, as a PNG file."""
        build = partial(build_request, poster=True)
        return await self._animation(timeout, build, portrait, speech, options).read()

    async def is_ready(self, timeout: float = 5.0) -> bool:
        """Whether the server answers within `timeout` seconds that it can animate now."""
        options = {"timeout": timeout, "metadata": self._endpoint.metadata}
        stub = self._stub()
        try:
            server = await stub.ServerReady(service_pb2.ServerReadyRequest(), **options)
            model = await stub.ModelReady(service_pb2.ModelReadyRequest(name=MODEL), **options)
        except grpc.RpcError as error:
            if means_not_ready(error):
                return False
            raise from_rpc(error, self._endpoint.url) from error
        return bool(server.ready and model.ready)

    async def wait_until_ready(self, timeout: float) -> None:
        """Returns as soon as `is_ready`; raises ServerUnavailableError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not await self.is_ready(max(deadline - time.monotonic(), READINESS_POLL_SECONDS)):
            if time.monotonic() > deadline:
                raise ServerUnavailableError(f"{self._endpoint.url} was not ready within {timeout:g} s")
            await asyncio.sleep(READINESS_POLL_SECONDS)

    async def close(self) -> None:
        """Ends the connection and cancels the animations that still run over it."""
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncSadTalkerClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _animation(self, timeout: float | None, build: Callable[..., Any], *arguments: object) -> "AsyncAnimation":
        async def start() -> tuple[Any, AsyncRequests]:
            requests = AsyncRequests(await asyncio.to_thread(build, *arguments))
            call = self._stub().ModelStreamInfer(
                requests,
                timeout=self._timeout if timeout is None else timeout,
                metadata=self._endpoint.metadata,
            )
            return call, requests

        return AsyncAnimation(start, self._endpoint.url)

    def _stub(self) -> Any:
        if self._channel is None:  # not in the constructor: grpc.aio ties a channel to the running event loop
            self._channel = self._endpoint.open(grpc.aio)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)


class AsyncAnimation(AsyncIterator[Fragment]):
    """`Animation` for asyncio: `async for`, `await read()`, `await save(...)`, `async with`.

    Cancelling the task that awaits it cancels the work on the server, too.
    """

    def __init__(self, start: Callable[[], Awaitable[tuple[Any, AsyncRequests]]], url: str) -> None:
        self._start = start
        self._url = url
        self._call: Any = None
        self._requests: AsyncRequests | None = None
        self._cancelled = False
        self._responses = ResponseReader(url)
        self._given: Fragment | None = None

    async def __anext__(self) -> Fragment:
        if self._requests and self._given:  # asking for the next one says that this one has been dealt with
            self._requests.took(self._given)
            self._given = None
        try:
            while True:
                response = await self._next_response()
                if response is grpc.aio.EOF:
                    self._responses.end()
                    break
                fragment = self._responses.feed(response)
                if self._requests and self._responses.final:
                    self._requests.end()
                if fragment:
                    self._given = fragment
                    return fragment
        except grpc.RpcError as error:
            self.cancel()
            raise from_rpc(error, self._url) from error
        except SadTalkerError:
            self.cancel()
            raise
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """The whole MP4, or what has not been iterated of it."""
        async with self:
            return b"".join([fragment.data async for fragment in self])

    async def save(self, path: str | os.PathLike[str], on_progress: Callable[[Fragment], object] | None = None) -> None:
        """Writes the MP4 to `path`, which appears only when the video is complete; `on_progress` sees each fragment.

        Raises OSError if the file cannot be written. Whatever goes wrong, the server's work is cancelled.
        """
        async with self:
            with atomic_write(path) as file:
                async for fragment in self:
                    file.write(fragment.data)
                    if on_progress:
                        on_progress(fragment)

    def cancel(self) -> None:
        """Stops the work on the server; awaiting on raises AnimationCancelledError. No effect on a finished one."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()
        if self._requests is not None:
            self._requests.end()

    async def __aenter__(self) -> "AsyncAnimation":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    def __del__(self) -> None:
        if self._call is not None:
            with contextlib.suppress(RuntimeError):  # the event loop is closed, and the call with it
                self._call.cancel()

    async def _next_response(self) -> Any:
        if self._call is None:
            if self._cancelled:
                raise AnimationCancelledError("the animation was cancelled before it was sent")
            self._call, self._requests = await self._start()
        try:
            return await self._call.read()
        except asyncio.CancelledError:
            if self._cancelled:  # gRPC reports `cancel` in this way, which asyncio would take for the task's own end
                raise AnimationCancelledError("the animation was cancelled by the application") from None
            raise

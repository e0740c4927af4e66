"""The client for asyncio: the names and meanings of `_client`, with `await` in front."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ._acknowledgements import AsyncRequests
from ._base import READINESS_POLL_SECONDS, BaseClient, checked_request_id
from ._coefficients import read_coefficients
from ._exceptions import AnimationCancelledError, SadTalkerError, from_rpc, means_not_ready
from ._files import Photos, Source, atomic_write
from ._live import AsyncLiveSession
from ._live_wire import LiveOptions, start_request
from ._options import Options
from ._wire import MODEL, Fragment, Only, ResponseReader, build_request

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncSadTalkerClient(BaseClient):
    """`SadTalkerClient` for asyncio. It may be created anywhere and belongs to the event loop that first uses it."""

    def animate(
        self,
        portrait: Photos,
        speech: Source | None = None,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: "Unpack[Options]",
    ) -> "AsyncAnimation":
        """Return the animation of a portrait and what moves it; see `SadTalkerClient.animate` for the arguments.

        Files are read and the request is sent when the animation is first awaited, and errors are raised there.
        """
        return self._animation(portrait, speech, options, timeout, request_id)

    async def poster(
        self,
        portrait: Photos,
        speech: Source | None = None,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: "Unpack[Options]",
    ) -> bytes:
        """Return the first frame of the animation that `animate` would make of the same arguments, as a PNG file."""
        return await self._animation(portrait, speech, options, timeout, request_id, only="poster").read()

    async def coefficients(
        self,
        speech: Source | None,
        portrait: Photos,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: "Unpack[Options]",
    ) -> npt.NDArray[np.float32]:
        """Return what moves the portrait, frame by frame: float32 [frames, 70], columns as `COEFFICIENTS` names them.

        The arguments are those of `animate`: of a recording these are the coefficients that it is spoken with, with the
        option `driving` those of the face in a video. Scales are not applied. `animate(portrait, speech,
        coefficients=array)` makes the video of them, changed or not. Raises what `animate` and its iteration do.
        """
        animation = self._animation(portrait, speech, options, timeout, request_id, only="coefficients_only")
        return read_coefficients(await animation.read(), self._endpoint.url)

    def live(self, portrait: Source, **options: "Unpack[LiveOptions]") -> AsyncLiveSession:
        """Return a conversation with a portrait, which begins with `async with`: speech streams in, frames stream out.

        `options` are those of `LiveOptions`. Errors are raised where the session begins and while it is iterated.
        """
        return AsyncLiveSession(
            lambda: self._stub().ModelStreamInfer(metadata=self._endpoint.metadata),
            lambda session: start_request(session, portrait, options, self._upload_limits),
            self._endpoint.url,
        )

    async def is_ready(self, timeout: float = 5.0) -> bool:
        """Return whether the server answers within `timeout` seconds that it can animate now."""
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
        """Wait until the server is ready; raises ServerUnavailableError after `timeout` seconds."""
        for seconds in self._readiness_checks(timeout):
            if await self.is_ready(seconds):
                return
            await asyncio.sleep(READINESS_POLL_SECONDS)

    async def close(self) -> None:
        """Close the connection and cancel the animations that still run over it."""
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> "AsyncSadTalkerClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _animation(
        self,
        portrait: Photos,
        speech: Source | None,
        options: Mapping[str, Any],
        timeout: float | None,
        request_id: str | None,
        only: Only | None = None,
    ) -> "AsyncAnimation":
        request_id = checked_request_id(request_id)
        build = partial(build_request, only=only, request_id=request_id, limits=self._upload_limits)

        async def start() -> tuple[Any, AsyncRequests]:
            requests = AsyncRequests(await asyncio.to_thread(build, portrait, speech, options))
            call = self._stub().ModelStreamInfer(
                requests,
                timeout=self._timeout if timeout is None else timeout,
                metadata=self._endpoint.metadata,
            )
            return call, requests

        return AsyncAnimation(start, self._endpoint.url, request_id)

    def _stub(self) -> Any:
        if self._channel is None:  # not opened in the constructor: grpc.aio ties a channel to the running event loop
            self._channel = self._endpoint.open(grpc.aio)
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)


class AsyncAnimation(AsyncIterator[Fragment]):
    """`Animation` for asyncio: `async for`, `await read()`, `await save(...)`, `async with`.

    Cancelling the task that awaits it cancels the work on the server, too.
    """

    def __init__(self, start: Callable[[], Awaitable[tuple[Any, AsyncRequests]]], url: str, request_id: str) -> None:
        self.request_id = request_id
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
            raise from_rpc(error, self._url, self.request_id) from error
        except SadTalkerError as error:
            if self._call is not None:  # the request was sent
                error.request_id = self.request_id
            self.cancel()
            raise
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """Return the whole MP4, or what has not been iterated of it."""
        async with self:
            return b"".join([fragment.data async for fragment in self])

    async def save(self, path: str | os.PathLike[str], on_progress: Callable[[Fragment], object] | None = None) -> None:
        """Write the MP4 to `path`, which appears only when the video is complete; `on_progress` gets each fragment.

        Raises OSError if the file cannot be written. Whatever goes wrong, the server's work is cancelled.
        """
        async with self:
            with atomic_write(path) as file:
                async for fragment in self:
                    file.write(fragment.data)
                    if on_progress:
                        on_progress(fragment)

    def cancel(self) -> None:
        """Stop the work on the server; awaiting on raises AnimationCancelledError. A finished one is not affected."""
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
            with contextlib.suppress(RuntimeError):  # the event loop is closed, and so is the call
                self._call.cancel()

    async def _next_response(self) -> Any:
        if self._call is None:
            if self._cancelled:
                raise AnimationCancelledError("the animation was cancelled before it was sent")
            self._call, self._requests = await self._start()
        try:
            return await self._call.read()
        except asyncio.CancelledError:
            if self._cancelled:  # gRPC raises CancelledError after `cancel`, too; asyncio would take it for the task's
                raise AnimationCancelledError("the animation was cancelled by the application") from None
            raise

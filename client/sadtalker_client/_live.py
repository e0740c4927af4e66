"""Live sessions: speech streams in, the face streams out; for asyncio and for blocking code."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio

from ._exceptions import AnimationCancelledError, ProtocolError, SadTalkerError, from_rpc
from ._live_wire import (
    KEEPALIVE_SECONDS,
    FrameReader,
    LiveFrame,
    Pcm,
    close_request,
    control_request,
    new_session,
    received_request,
    speech_requests,
)

WAITING_REQUESTS = 64  # of a blocking session, before `speak` waits
ENDED = "the session has ended: begin another one"


class AsyncLiveSession(AsyncIterator[LiveFrame]):
    """A conversation with a face; use it with `async with`, speak from any task of the loop, iterate it in one.

    An error that concerns a single piece of speech (InvalidInputError) is raised while iterating, once; the session
    goes on and may be iterated on. All other errors end it. A session that has ended, or whose server is gone, cannot
    be taken up again: begin another one. While nobody iterates, the server waits after 2 s of frames.
    """

    def __init__(self, open_call: Callable[[], Any], start: Callable[[int], Any], url: str) -> None:
        self._open_call = open_call
        self._start = start
        self._url = url
        self._session = new_session()
        self._frames = FrameReader(url)
        self._writing = asyncio.Lock()
        self._call: Any = None
        self._keepalive: asyncio.Task[None] | None = None
        self._cancelled = False

    async def speak(self, pcm: Pcm, rate: int) -> None:
        """Send a piece of speech, 10 ms to 300 s of mono samples at `rate` Hz; returns when it is on its way.

        Raises InvalidInputError at once for what cannot be sent, and the error that ended the session.
        """
        for request in speech_requests(self._session, pcm, rate):
            await self._say(request)

    async def flush(self) -> None:
        """Say that the utterance is complete: nothing more need be waited for to show it."""
        await self._say(control_request(self._session, "flush"))

    async def interrupt(self) -> None:
        """Forget what was said and is not shown yet; the mouth closes."""
        await self._say(control_request(self._session, "interrupt"))

    async def end(self) -> None:
        """Show what was said, then end: iterating stops after the last frame."""
        await self._say(control_request(self._session, "end"))

    def cancel(self) -> None:
        """End at once; iterating on raises AnimationCancelledError."""
        self._cancelled = True
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> "AsyncLiveSession":
        request = await asyncio.to_thread(self._start, self._session)
        self._call = self._open_call()
        await self._write(request)
        self._keepalive = asyncio.create_task(self._keep_alive())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keepalive is not None:
            self._keepalive.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keepalive
        if self._call is not None:
            self._call.cancel()

    async def __anext__(self) -> LiveFrame:
        while not self._frames.ended:
            frame = self._frames.feed(await self._read())
            if frame is not None:
                if self._frames.due:
                    await self._write(received_request(self._session, self._frames.received))
                return frame
        with contextlib.suppress(SadTalkerError):  # the session is over, and its sequence ends by itself, too
            await self._write(close_request(self._session))
            await self._call.done_writing()
        raise StopAsyncIteration

    async def _keep_alive(self) -> None:
        with contextlib.suppress(SadTalkerError):  # whoever iterates or speaks is told
            while not self._frames.ended:
                await asyncio.sleep(KEEPALIVE_SECONDS)
                await self._write(received_request(self._session, self._frames.received))

    async def _read(self) -> Any:
        try:
            response = await self._opened().read()
        except grpc.RpcError as error:
            raise from_rpc(error, self._url) from error
        except asyncio.CancelledError:
            if self._cancelled:  # gRPC reports `cancel` in this way, which asyncio would take for the task's own end
                raise AnimationCancelledError("the session was cancelled by the application") from None
            raise
        if response is grpc.aio.EOF:
            raise ProtocolError(f"{self._url} ended the stream in the middle of the session")
        return response

    async def _say(self, request: Any) -> None:
        if self._frames.ended:
            raise AnimationCancelledError(ENDED)
        await self._write(request)

    async def _write(self, request: Any) -> None:
        try:
            async with self._writing:
                await self._opened().write(request)
        except grpc.RpcError as error:
            raise from_rpc(error, self._url) from error
        except asyncio.InvalidStateError as error:  # the call is over
            raise await self._reason() from error
        except asyncio.CancelledError:
            if self._cancelled:
                raise AnimationCancelledError("the session was cancelled by the application") from None
            raise

    async def _reason(self) -> SadTalkerError:
        code, details = await self._call.code(), await self._call.details()
        return AnimationCancelledError(f"the session has ended: {code.name}: {details or 'no details'}")

    def _opened(self) -> Any:
        if self._call is None:
            raise RuntimeError("the session has not begun: use it with `async with`")
        return self._call


class LiveSession(Iterator[LiveFrame]):
    """`AsyncLiveSession` for blocking code: speak from any thread, iterate in one."""

    def __init__(self, open_call: Callable[[Iterator[Any]], Any], start: Callable[[int], Any], url: str) -> None:
        self._open_call = open_call
        self._url = url
        self._session = new_session()
        self._frames = FrameReader(url)
        self._requests: queue.Queue[Any] = queue.Queue(WAITING_REQUESTS)
        self._request = start(self._session)
        self._call: Any = None
        self._closed = threading.Event()

    def speak(self, pcm: Pcm, rate: int) -> None:
        """Send a piece of speech; see `AsyncLiveSession.speak`. Waits while much is on its way."""
        for request in speech_requests(self._session, pcm, rate):
            self._say(request)

    def flush(self) -> None:
        """Say that the utterance is complete."""
        self._say(control_request(self._session, "flush"))

    def interrupt(self) -> None:
        """Forget what was said and is not shown yet; the mouth closes."""
        self._say(control_request(self._session, "interrupt"))

    def end(self) -> None:
        """Show what was said, then end."""
        self._say(control_request(self._session, "end"))

    def cancel(self) -> None:
        """End at once; iterating on raises AnimationCancelledError. May be called from another thread."""
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def __enter__(self) -> "LiveSession":
        self._requests.put(self._request)
        self._call = self._open_call(self._sent())
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def __next__(self) -> LiveFrame:
        if self._call is None:
            raise RuntimeError("the session has not begun: use it with `with`")
        while not self._frames.ended:
            try:
                response = next(self._call)
            except StopIteration:
                raise ProtocolError(f"{self._url} ended the stream in the middle of the session") from None
            except grpc.RpcError as error:
                raise from_rpc(error, self._url) from error
            frame = self._frames.feed(response)
            if frame is not None:
                if self._frames.due:
                    self._send(received_request(self._session, self._frames.received))
                return frame
        if not self._closed.is_set():
            with contextlib.suppress(SadTalkerError):
                self._send(close_request(self._session))
            self._closed.set()
        raise StopIteration

    def _say(self, request: Any) -> None:
        if self._frames.ended:
            raise AnimationCancelledError(ENDED)
        self._send(request)

    def _send(self, request: Any) -> None:
        while True:
            if self._closed.is_set() or self._call is None or not self._call.is_active():
                raise AnimationCancelledError("the session has ended, or has not begun")
            with contextlib.suppress(queue.Full):
                self._requests.put(request, timeout=0.5)
                return

    def _sent(self) -> Iterator[Any]:
        """Yield what is to be sent, and every few seconds that somebody is there."""
        waited = 0.0
        while not (self._closed.is_set() and self._requests.empty()):
            try:
                yield self._requests.get(timeout=0.25)
                waited = 0.0
            except queue.Empty:
                waited += 0.25
                if waited >= KEEPALIVE_SECONDS and not self._frames.ended:
                    yield received_request(self._session, self._frames.received)
                    waited = 0.0

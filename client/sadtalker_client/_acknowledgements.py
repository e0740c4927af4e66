"""Says to the server what has been read of a video, so that it makes no more than its listener takes.

Acknowledgements are requests to the model `acknowledge` in the video's own stream. They are rare: a video of which less
than `EVERY_BYTES` are read sends none.
"""

import asyncio
import queue
import struct
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tritonclient.grpc import service_pb2

from ._wire import ACKNOWLEDGEMENT, Fragment

MODEL = "acknowledge"
EVERY_BYTES = 8_000_000  # an eighth of what the server lets pass unacknowledged


class Reading:
    """Counts what is read of one video, and makes the acknowledgements.

    Args:
        request: the request for the video; it is given an id if it has none.
    """

    def __init__(self, request: Any) -> None:
        if not request.id:
            request.id = uuid.uuid4().hex
        self._video = request.id
        self._unacknowledged = 0

    def took(self, fragment: Fragment) -> Any | None:
        """Return a request that acknowledges all up to `fragment`, when it is time for one."""
        self._unacknowledged += len(fragment.data)
        if self._unacknowledged < EVERY_BYTES:
            return None
        self._unacknowledged = 0
        video = self._video.encode()
        request = service_pb2.ModelInferRequest(model_name=MODEL, id=ACKNOWLEDGEMENT)
        for name, datatype, content in (
            ("video", "BYTES", struct.pack("<I", len(video)) + video),
            ("frames_done", "INT32", struct.pack("<i", fragment.frames_done)),
        ):
            request.inputs.add(name=name, datatype=datatype, shape=[1])
            request.raw_input_contents.append(content)
        return request


class Requests(Iterator[Any]):
    """The requests of one stream, for gRPC to iterate: the video's, then acknowledgements until `end`."""

    def __init__(self, request: Any) -> None:
        self._reading = Reading(request)
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._queue.put(request)

    def __next__(self) -> Any:
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request

    def took(self, fragment: Fragment) -> None:
        """Take note that the application is done with a fragment."""
        if (acknowledgement := self._reading.took(fragment)) is not None:
            self._queue.put(acknowledgement)

    def end(self) -> None:
        """Send nothing more."""
        self._queue.put(None)


class AsyncRequests(AsyncIterator[Any]):
    """`Requests` for asyncio."""

    def __init__(self, request: Any) -> None:
        self._reading = Reading(request)
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._queue.put_nowait(request)

    async def __anext__(self) -> Any:
        request = await self._queue.get()
        if request is None:
            raise StopAsyncIteration
        return request

    def took(self, fragment: Fragment) -> None:
        """Take note that the application is done with a fragment."""
        if (acknowledgement := self._reading.took(fragment)) is not None:
            self._queue.put_nowait(acknowledgement)

    def end(self) -> None:
        """Send nothing more."""
        self._queue.put_nowait(None)

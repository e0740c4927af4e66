"""The blocking client."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ._acknowledgements import Requests
from ._base import READINESS_POLL_SECONDS, BaseClient, checked_request_id
from ._coefficients import read_coefficients
from ._exceptions import SadTalkerError, from_rpc, means_not_ready
from ._files import Photos, Source, atomic_write
from ._live import LiveSession
from ._live_wire import LiveOptions, start_request
from ._options import Options
from ._wire import MODEL, Fragment, Only, ResponseReader, build_request

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SadTalkerClient(BaseClient):
    """A connection to a server; use it as a context manager or `close` it. Threads may share it.

    `url` is `host:port`, or any gRPC target: with `dns:///name:port` the animations are spread over all addresses of
    the name. `timeout` is in seconds for a whole animation, None for no limit. `tls` encrypts: True with the usual
    certificate authorities, or a `TLS`. `metadata` goes with every call, for instance an authorization.
    `upload_limits` are checked before anything is sent. Nothing is sent before the first call. Raises
    InvalidInputError for a malformed url or an unreadable certificate.
    """

    def animate(
        self,
        portrait: Photos,
        speech: Source | None = None,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: "Unpack[Options]",
    ) -> "Animation":
        """Send a portrait and what moves it, files as bytes or by path, and return the running animation.

        Instead of one portrait, a list of 1 to 8 photos of one person may be given, the portrait first: see the option
        `photos`.

        A recording of speech, in any audio format, moves it, or one of the options `driving` and `idle`. `options` are
        those of `Options`, each with its unit and range. `timeout` replaces the client's. `request_id` names the
        request in the server's log and traces: up to 128 letters, digits and characters of ._:/+=-, by default random.

        Raises InvalidInputError at once for a file that cannot be read or is too large, and for an option of a wrong
        type; the server's errors are raised while the animation is iterated.
        """
        return self._send(portrait, speech, options, timeout, request_id)

    def poster(
        self,
        portrait: Photos,
        speech: Source | None = None,
        *,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: "Unpack[Options]",
    ) -> bytes:
        """Return the first frame of the animation that `animate` would make of the same arguments, as a PNG file.

        Of a portrait alone it is that of an `idle` loop: the face at rest. Raises what `animate` and its iteration do.
        """
        return self._send(portrait, speech, options, timeout, request_id, only="poster").read()

    def coefficients(
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
        animation = self._send(portrait, speech, options, timeout, request_id, only="coefficients_only")
        return read_coefficients(animation.read(), self._endpoint.url)

    def live(self, portrait: Source, **options: "Unpack[LiveOptions]") -> LiveSession:
        """Return a conversation with a portrait, which begins with `with`: speech streams in, frames stream out.

        `options` are those of `LiveOptions`. Raises InvalidInputError for a portrait that cannot be read and options of
        a wrong type; the server's errors are raised while the session is iterated.
        """
        return LiveSession(
            lambda requests: self._stub.ModelStreamInfer(requests, metadata=self._endpoint.metadata),
            lambda session: start_request(session, portrait, options, self._upload_limits),
            self._endpoint.url,
        )

    def is_ready(self, timeout: float = 5.0) -> bool:
        """Return whether the server answers within `timeout` seconds that it can animate now."""
        options = {"timeout": timeout, "metadata": self._endpoint.metadata}
        try:
            return bool(
                self._stub.ServerReady(service_pb2.ServerReadyRequest(), **options).ready
                and self._stub.ModelReady(service_pb2.ModelReadyRequest(name=MODEL), **options).ready
            )
        except grpc.RpcError as error:
            if means_not_ready(error):
                return False
            raise from_rpc(error, self._endpoint.url) from error

    def wait_until_ready(self, timeout: float) -> None:
        """Wait until the server is ready; raises ServerUnavailableError after `timeout` seconds."""
        for seconds in self._readiness_checks(timeout):
            if self.is_ready(seconds):
                return
            time.sleep(READINESS_POLL_SECONDS)

    def close(self) -> None:
        """Close the connection and cancel the animations that still run over it."""
        self._channel.close()

    def _send(
        self,
        portrait: Photos,
        speech: Source | None,
        options: Mapping[str, Any],
        timeout: float | None,
        request_id: str | None,
        only: Only | None = None,
    ) -> "Animation":
        request_id = checked_request_id(request_id)
        requests = Requests(
            build_request(portrait, speech, options, only=only, request_id=request_id, limits=self._upload_limits)
        )
        call = self._stub.ModelStreamInfer(
            requests,
            timeout=self._timeout if timeout is None else timeout,
            metadata=self._endpoint.metadata,
        )
        return Animation(call, requests, self._endpoint.url, request_id)

    def _open(self) -> Any:
        return self._endpoint.open(grpc)

    @property
    def _stub(self) -> Any:
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> "SadTalkerClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Animation(Iterator[Fragment]):
    """A video that is being made: iterate its fragments as they arrive, or `read` or `save` the whole.

    Every way of using it raises the exceptions of `SadTalkerError` when the server refuses, fails or cannot be reached.
    Leaving it early (`with`, `cancel`, or simply dropping it) stops the work on the server. `request_id` names it in
    the server's log and traces.
    """

    def __init__(self, call: Any, requests: Requests, url: str, request_id: str) -> None:
        self.request_id = request_id
        self._call = call
        self._requests = requests
        self._url = url
        self._responses = ResponseReader(url)
        self._given: Fragment | None = None

    def __next__(self) -> Fragment:
        if self._given:  # asking for the next one says that this one has been dealt with
            self._requests.took(self._given)
            self._given = None
        try:
            for response in self._call:
                fragment = self._responses.feed(response)
                if self._responses.final:
                    self._requests.end()
                if fragment:
                    self._given = fragment
                    return fragment
            self._responses.end()
        except grpc.RpcError as error:
            self._requests.end()
            raise from_rpc(error, self._url, self.request_id) from error
        except SadTalkerError as error:
            error.request_id = self.request_id
            self.cancel()
            raise
        raise StopIteration

    def read(self) -> bytes:
        """Return the whole MP4, or what has not been iterated of it."""
        with self:
            return b"".join(fragment.data for fragment in self)

    def save(self, path: str | os.PathLike[str], on_progress: Callable[[Fragment], object] | None = None) -> None:
        """Write the MP4 to `path`, which appears only when the video is complete; `on_progress` gets each fragment.

        Raises OSError if the file cannot be written. Whatever goes wrong, the server's work is cancelled.
        """
        with self, atomic_write(path) as file:
            for fragment in self:
                file.write(fragment.data)
                if on_progress:
                    on_progress(fragment)

    def cancel(self) -> None:
        """Stop the work on the server; iterating on raises AnimationCancelledError. A finished one is not affected.

        May be called from another thread.
        """
        self._call.cancel()
        self._requests.end()

    def __del__(self) -> None:
        self.cancel()

    def __enter__(self) -> "Animation":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

"""Requests to the model `sadtalker` and its responses, as protobuf messages; docs/protocol.md describes them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from tritonclient.grpc import service_pb2

from ._exceptions import InvalidInputError, ProtocolError, from_server_text
from ._files import UNLIMITED, Photos, Source, UploadLimits, read_source
from ._options import DATATYPES, MAX_PHOTOS, PACKING, pack_bytes, pack_option

MODEL = "sadtalker"
ACKNOWLEDGEMENT = "acknowledgement"  # request id of those; no answer comes, or an error that concerns no video
FRAMES_PER_SECOND = 25

INPUTS = {"image": "BYTES", "audio": "BYTES", "poster": "BOOL", "coefficients_only": "BOOL"}  # besides the options
OUTPUTS = {"video": "BYTES", "frames_done": "INT32", "frames_total": "INT32"}

Only: TypeAlias = Literal["poster", "coefficients_only"]
"""The alternatives to a whole video."""

_MAX_REQUEST_BYTES = 2**31 - 2**16  # a protobuf message ends at 2 GiB; the rest is for names and options


@dataclass(frozen=True, slots=True)
class Fragment:
    """The next piece of the video.

    `data` are bytes of one fragmented MP4 (H.264 at 25 frames per second, AAC). Joined in order they are the file, and
    each can be decoded as soon as it is there. A web page appends them to a buffer of Media Source Extensions; a
    plain `<video src>` in Chromium waits for some 60 kB before it shows a picture. `frames_done` of `frames_total`
    frames are contained up to here.
    """

    data: bytes
    frames_done: int
    frames_total: int

    @property
    def progress(self) -> float:
        """Share of the frames that are done, 0 to 1."""
        return self.frames_done / self.frames_total


def build_request(
    portrait: Photos,
    speech: Source | None,
    options: Mapping[str, Any],
    *,
    only: Only | None = None,
    request_id: str = "",
    limits: UploadLimits = UNLIMITED,
) -> Any:
    """Return a `ModelInferRequest`. An option that is None is left out, so that the server's default applies.

    Raises InvalidInputError for files that cannot be sent and options of a wrong type, and TypeError, as Python does,
    for an option that does not exist.
    """
    portrait, options = _with_photos(portrait, options)
    if unknown := options.keys() - DATATYPES.keys():
        raise TypeError(f"unexpected option: {', '.join(sorted(unknown))}")
    picture = read_source("portrait", portrait, limits.picture)
    tensors: list[tuple[str, str, tuple[int, ...], bytes]] = [("image", "BYTES", (1,), pack_bytes(picture))]
    if speech is not None:
        recording = read_source("speech", speech, limits.speech)
        tensors.append(("audio", "BYTES", (1,), pack_bytes(recording)))
    tensors += [
        (name, DATATYPES[name], *pack_option(name, value, limits))
        for name, value in options.items()
        if value is not None
    ]
    if only:
        tensors.append((only, "BOOL", (1,), struct.pack(PACKING["BOOL"], True)))
    size = sum(len(content) for *_, content in tensors)
    if size > _MAX_REQUEST_BYTES:
        raise InvalidInputError(
            f"portrait, speech and options: expected at most {_MAX_REQUEST_BYTES} bytes together, got {size}"
        )
    request = service_pb2.ModelInferRequest(model_name=MODEL, id=request_id)
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    for name, datatype, shape, content in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=[1, *shape])
        request.raw_input_contents.append(content)
    return request


def _with_photos(portrait: Photos, options: Mapping[str, Any]) -> tuple[Source, Mapping[str, Any]]:
    """Return the portrait and the options, with photos of the same person behind the first one as an option."""
    if isinstance(portrait, bytes | str) or not isinstance(portrait, Sequence):
        return portrait, options
    if options.get("photos") is not None:
        raise InvalidInputError("photos: expected a list of portraits or this option, got both")
    photos = cast(Sequence[Source], portrait)
    if not 1 <= len(photos) <= MAX_PHOTOS:
        raise InvalidInputError(f"portrait: expected 1 to {MAX_PHOTOS} photos, got {len(photos)}")
    return photos[0], {**options, "photos": photos[1:] or None}


class ResponseReader:
    """Reader of the responses to one request: turns them into fragments and knows whether they are all there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._last: Fragment | None = None
        self._final = False

    def feed(self, response: Any) -> Fragment | None:
        """Return the fragment in a `ModelStreamInferResponse`, None if it is empty; raises the error that it holds."""
        if response.infer_response.id == ACKNOWLEDGEMENT:
            return None
        if response.error_message:
            raise from_server_text(response.error_message, self._url)
        infer = response.infer_response
        if self._final:
            raise ProtocolError(f"{self._url} went on answering after its final response")
        self._final = infer.parameters["triton_final_response"].bool_param
        if not infer.outputs:
            return None
        self._last = _parse_fragment(infer, self._url)
        return self._last

    @property
    def final(self) -> bool:
        """Whether the final response has come, the stream's end aside."""
        return self._final

    def end(self) -> None:
        """Check, when the stream has ended, that nothing is missing; raises ProtocolError otherwise."""
        done, total = (self._last.frames_done, self._last.frames_total) if self._last else (0, "any")
        if not self._final or done != total:
            raise ProtocolError(f"{self._url} ended its answer after {done} of {total} frames")


def _parse_fragment(infer: Any, url: str) -> Fragment:
    tensors = dict(zip((output.name for output in infer.outputs), infer.raw_output_contents, strict=False))
    datatypes = {output.name: output.datatype for output in infer.outputs}
    if datatypes != OUTPUTS or tensors.keys() != OUTPUTS.keys():
        raise ProtocolError(f"expected the output tensors {OUTPUTS}, got {datatypes} from {url}")
    video = tensors["video"]
    try:
        (length,) = struct.unpack_from("<I", video)
        (done,) = struct.unpack(PACKING["INT32"], tensors["frames_done"])
        (total,) = struct.unpack(PACKING["INT32"], tensors["frames_total"])
    except struct.error as error:
        raise ProtocolError(f"expected output tensors of one element, got others from {url}: {error}") from error
    if length != len(video) - 4:
        raise ProtocolError(f"expected {length} bytes of video, got {len(video) - 4} from {url}")
    if not 0 <= done <= total or total == 0:
        raise ProtocolError(f"expected frames_done between 0 and frames_total, got {done} of {total} from {url}")
    return Fragment(video[4:], done, total)

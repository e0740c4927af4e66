"""The model `sadtalker_live` on the wire: a session's requests and its frames. No input or output happens here."""

import secrets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2

from ._exceptions import InvalidInputError, ProtocolError, from_server_text
from ._files import Source, UploadLimits, read_source
from ._options import DATATYPES, PACKING, pack_bytes, pack_option

LIVE_MODEL = "sadtalker_live"
SOUND_RATE = 48_000
"""Samples per second of a live frame's sound."""
LONGEST_PIECE_SECONDS = 300.0
SECONDS_PER_REQUEST = 10.0  # longer pieces are sent in several
RECEIVED_EVERY = 10  # frames
KEEPALIVE_SECONDS = 8.0

Pcm: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[np.int16] | npt.NDArray[np.float32]
"""Mono speech: little-endian 16-bit samples as bytes, or an array [n] of int16, or of float32 in [-1, 1]."""

LIVE_DATATYPES = {"look_ahead": "INT32", "pace": "BYTES", "idle": "BOOL", "format": "BYTES"}
OUTPUTS = {
    "video": "BYTES",
    "sound": "INT16",
    "frame": "INT32",
    "time": "FP64",
    "size": "INT32",
    "utterance": "INT32",
    "ends": "BOOL",
    "late": "BOOL",
    "latency": "FP32",
}


class LiveOptions(TypedDict, total=False):
    """Options of `live`. One left out or None takes the server's default; those of a face are as in `Options`."""

    look_ahead: int | Literal["full"] | None
    """Frames of speech, 0 to 13, that the server waits for beyond those that it shows; 4 by default. "full" waits until
    every frame is as it would be in a recording's video, up to 2.3 s."""
    pace: Literal["realtime", "fast"] | None
    """"realtime" (default): a frame every 40 ms, whatever happens; "fast": frames of speech as soon as known."""
    idle: bool | None
    """Whether the face moves while nothing is said (default), or holds still."""
    format: Literal["rgb24", "jpeg", "mp4"] | None
    """How frames come: as pixels, as JPEG files (default), or as fragments of one endless MP4, sound included."""
    pose_style: int | None
    expression_scale: float | None
    head_motion_scale: float | None
    still: bool | None
    seed: int | None
    blink: bool | None
    blink_rate: float | None
    size: int | None
    crop: str | None
    face_index: int | None
    enhance: str | None
    background: str | None
    speech_model: str | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Where the time from a frame's speech to the frame went in the server, seconds."""

    look_ahead: float
    queue: float
    compute: float
    encoding: float


@dataclass(frozen=True, slots=True)
class LiveFrame:
    """A frame of a live session and the speech that belongs to it."""

    data: bytes
    """The picture in the session's format: rows of RGB, a JPEG file, or the MP4's next fragment."""
    sound: bytes
    """Little-endian 16-bit mono at 48 kHz, 40 ms; empty with the format mp4, which carries it."""
    index: int
    """Counts the session's frames, from 0 on."""
    time: float
    """When it is due, seconds after the first."""
    width: int
    height: int
    utterance: int | None
    """Whose frame it is, from 0 on; None while nothing is said."""
    ends: bool
    """Whether it is the last of its utterance."""
    late: bool
    """Whether the picture before stands in for it, because it was not there in time."""
    latency: Latency | None
    """True for a frame of an utterance."""


def new_session() -> int:
    """Return a random sequence id."""
    return secrets.randbits(62) + 1


def start_request(session: int, portrait: Source, options: Mapping[str, Any], limits: UploadLimits) -> Any:
    """Return the request that begins a session.

    Raises InvalidInputError for a portrait that cannot be sent and options of a wrong type, and TypeError, as Python
    does, for an option that does not exist.
    """
    if unknown := options.keys() - LiveOptions.__annotations__.keys():
        raise TypeError(f"unexpected option: {', '.join(sorted(unknown))}")
    request = _request(session, "start")
    request.parameters["sequence_start"].bool_param = True
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    _add(request, "image", "BYTES", (1,), pack_bytes(read_source("portrait", portrait, limits.picture)))
    for name, value in options.items():
        if value is None:
            continue
        if name in LIVE_DATATYPES:
            _add(request, name, LIVE_DATATYPES[name], (1,), _pack_live(name, value))
        else:
            _add(request, name, DATATYPES[name], *pack_option(name, value, limits))
    return request


def speech_requests(session: int, pcm: Pcm, rate: int) -> list[Any]:
    """Return the requests that bring a piece of speech; raises InvalidInputError for one that cannot be sent."""
    if isinstance(rate, bool) or not isinstance(rate, int) or rate <= 0:
        raise InvalidInputError(f"rate: expected samples per second, got {rate!r}")
    if isinstance(pcm, bytes | bytearray | memoryview):
        if len(memoryview(pcm).cast("B")) % 2:
            raise InvalidInputError("speech: expected 16-bit samples, got an odd number of bytes")
        samples: npt.NDArray[Any] = np.frombuffer(pcm, "<i2")
    elif isinstance(pcm, np.ndarray) and pcm.ndim == 1 and pcm.dtype in (np.int16, np.float32):
        samples = pcm
    else:
        kind = f"{pcm.dtype} {list(pcm.shape)}" if isinstance(pcm, np.ndarray) else type(pcm).__name__
        raise InvalidInputError(f"speech: expected bytes, or an int16 or float32 array [n], got {kind}")
    if len(samples) > LONGEST_PIECE_SECONDS * rate:
        seconds = len(samples) / rate
        raise InvalidInputError(f"speech: expected at most {LONGEST_PIECE_SECONDS:g} s at once, got {seconds:g} s")
    name, datatype = ("pcm", "INT16") if samples.dtype == np.int16 else ("samples", "FP32")
    parts = max(round(len(samples) / (SECONDS_PER_REQUEST * rate)), 1)
    requests = []
    for part in np.array_split(samples, parts):
        request = _request(session, "speech")
        _add(request, name, datatype, part.shape, part.astype(part.dtype.newbyteorder("<")).tobytes())
        _add(request, "rate", "INT32", (1,), struct.pack("<i", rate))
        requests.append(request)
    return requests


def control_request(session: int, control: str) -> Any:
    """Return the request that says flush, interrupt or end."""
    request = _request(session, control)
    _add(request, "control", "BYTES", (1,), pack_bytes(control.encode()))
    return request


def received_request(session: int, frames: int) -> Any:
    """Return the request that tells the server how many frames have arrived."""
    request = _request(session, "received")
    _add(request, "received", "INT32", (1,), struct.pack("<i", frames))
    return request


def close_request(session: int) -> Any:
    """Return the request that ends the sequence, after the session's last frame."""
    request = control_request(session, "end")  # Triton's Python backend refuses a request without any input
    request.id = "close"
    request.parameters["sequence_end"].bool_param = True
    return request


class FrameReader:
    """Turns a session's responses into frames, and knows when they have ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.received = 0
        self.ended = False

    def feed(self, response: Any) -> LiveFrame | None:
        """Return the frame in a `ModelStreamInferResponse`, None if it has none; raises the error that it carries."""
        infer = response.infer_response
        if response.error_message:
            self.ended = self.ended or infer.id == "start"
            raise from_server_text(response.error_message, self._url)
        if infer.id != "start":
            return None
        if infer.parameters["triton_final_response"].bool_param:
            self.ended = True
        if not infer.outputs:
            return None
        frame = _parse_frame(infer, self._url)
        if frame.index != self.received:
            raise ProtocolError(f"expected frame {self.received}, got {frame.index} from {self._url}")
        self.received += 1
        return frame

    @property
    def due(self) -> bool:
        """Whether the server should be told what was received."""
        return self.received % RECEIVED_EVERY == 0


def _request(session: int, id: str) -> Any:
    request = service_pb2.ModelInferRequest(model_name=LIVE_MODEL, id=id)
    request.parameters["sequence_id"].int64_param = session
    return request


def _add(request: Any, name: str, datatype: str, shape: tuple[int, ...], content: bytes) -> None:
    request.inputs.add(name=name, datatype=datatype, shape=[1, *shape])
    request.raw_input_contents.append(content)


def _pack_live(name: str, value: Any) -> bytes:
    if name == "look_ahead":
        value = -1 if value == "full" else value
        if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 2**31:
            raise InvalidInputError(f'look_ahead: expected a number of frames or "full", got {value!r}')
        return struct.pack("<i", value)
    if name == "idle":
        if not isinstance(value, bool):
            raise InvalidInputError(f"idle: expected True or False, got {value!r}")
        return struct.pack(PACKING["BOOL"], value)
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: expected a string, got {value!r}")
    return pack_bytes(value.encode())


def _parse_frame(infer: Any, url: str) -> LiveFrame:
    tensors = dict(zip((output.name for output in infer.outputs), infer.raw_output_contents, strict=False))
    datatypes = {output.name: output.datatype for output in infer.outputs}
    if datatypes != OUTPUTS or tensors.keys() != OUTPUTS.keys():
        raise ProtocolError(f"expected the output tensors {OUTPUTS}, got {datatypes} from {url}")
    try:
        (index,), (utterance,) = struct.unpack("<i", tensors["frame"]), struct.unpack("<i", tensors["utterance"])
        (time,), (width, height) = struct.unpack("<d", tensors["time"]), struct.unpack("<2i", tensors["size"])
        (ends,), (late,) = struct.unpack("<?", tensors["ends"]), struct.unpack("<?", tensors["late"])
        latency = struct.unpack("<4f", tensors["latency"])
        (length,) = struct.unpack_from("<I", tensors["video"])
    except struct.error as error:
        raise ProtocolError(f"expected the tensors of one frame, got others from {url}: {error}") from error
    video = tensors["video"][4:]
    if length != len(video):
        raise ProtocolError(f"expected {length} bytes of video, got {len(video)} from {url}")
    spoken = utterance >= 0
    return LiveFrame(
        video,
        tensors["sound"],
        index,
        time,
        width,
        height,
        utterance if spoken else None,
        ends,
        late,
        Latency(*latency) if spoken else None,
    )

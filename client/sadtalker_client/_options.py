"""Options of an animation, and how they are packed into tensors."""

import operator
import struct
from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

from ._exceptions import InvalidInputError
from ._files import Source, UploadLimits, read_source

KeyFrames: TypeAlias = float | Sequence[tuple[float, float]]
"""A curve: (seconds, degrees) at increasing times, or one number for a constant."""


class Options(TypedDict, total=False):
    """Options of `animate`. The server's default applies to those left out or None; the server checks the ranges."""

    photos: Sequence[Source] | None
    """Up to 7 further photos of the same person: where the face is nearer to one of them than to the portrait (eyes
    closed, mouth open, head turned), it is shown from that photo. Away from the face the picture is the portrait's."""
    pose_style: int | None
    """Learned style of head motion, 0 to 45."""
    expression_scale: float | None
    """Factor on the expression, mouth included: 0 to 3; 1 is natural."""
    head_motion_scale: float | None
    """Factor on how far the head moves from its pose in the portrait: 0 to 3."""
    still: bool | None
    """Whether to hold the head as in the portrait."""
    yaw: KeyFrames | None
    """The head's angle to the side, -90 to 90 degrees; 0 is frontal. It moves smoothly between key frames and rests
    before the first and after the last. The sign convention depends on the weights; with the demo weights, positive
    yaw turns to the picture's right."""
    pitch: KeyFrames | None
    """The head's angle up (positive with the demo weights) and down, as `yaw`."""
    roll: KeyFrames | None
    """The head's tilt, as `yaw`; with the demo weights, positive is clockwise."""
    seed: int | None
    """Seed of head motion and blinks, from 0 on; the same seed gives the same bytes."""
    blink: bool | None
    """Whether to blink."""
    blink_rate: float | None
    """Blinks per minute, 0 to 120, at random gaps."""
    blink_times: Sequence[float] | None
    """Seconds at which the eyes begin to close, instead of random ones."""
    blink_reference: Source | None
    """A video, in any format, from whose face the eyes and the expression around them are taken."""
    pose_reference: Source | None
    """A video whose face moves the head instead of the speech; a short one is played back and forth."""
    driving: Source | None
    """A video whose face moves the portrait, expression and pose, frame by frame at 25 per second. The speech, if
    given, is then only heard; otherwise the video's own sound is."""
    idle: float | None
    """Seconds, from 1 on, of a loop without speech: the last frame continues into the first."""
    settle: float | None
    """Seconds, 0 to 10, in which the face leaves its rest at the beginning and returns to it at the end, so that
    videos, and an idle loop between them, can be joined without a jump."""
    speech_model: str | None
    """Which of the server's models gives expression and pose for speech; by default audio2coeff, SadTalker's own."""
    coefficients: npt.ArrayLike | None
    """The coefficients that move the face instead: float32 [frames, 70], as a client's `coefficients` returns them.
    Speech is then only heard."""
    preview: bool | None
    """Draw the 3-D keypoints that move the face, the head's axes and the 64 coefficients of the expression instead of
    rendering it: a look at what a recording or coefficients do, which is quick to make."""
    size: int | None
    """Width and height of the picture in pixels; it must be what the server renders."""
    crop: str | None
    """Part of the picture to show: "crop", the face; "extcrop", more around it; "resize", the picture squeezed into a
    square; "full" and "extfull", the whole picture in its own size, with the face, or more around it, blended in."""
    face_index: int | None
    """Which of several faces: from left to right, from 0 on. By default the main one: the largest, or the clearest
    where the server has no learned detector."""
    enhance: str | None
    """"gfpgan" or "restoreformer" restores the face in every frame and doubles the picture's edge; "none" leaves it."""
    background: str | None
    """"realesrgan" restores the picture around the face and doubles its edge, once per portrait, with crop "full" or
    "extfull"; "none" leaves it."""


DATATYPES = {
    "photos": "BYTES",
    "pose_style": "INT32",
    "expression_scale": "FP32",
    "head_motion_scale": "FP32",
    "still": "BOOL",
    "yaw": "FP32",
    "pitch": "FP32",
    "roll": "FP32",
    "seed": "INT64",
    "blink": "BOOL",
    "blink_rate": "FP32",
    "blink_times": "FP32",
    "blink_reference": "BYTES",
    "pose_reference": "BYTES",
    "driving": "BYTES",
    "idle": "FP32",
    "settle": "FP32",
    "speech_model": "BYTES",
    "coefficients": "FP32",
    "preview": "BOOL",
    "size": "INT32",
    "crop": "BYTES",
    "face_index": "INT32",
    "enhance": "BYTES",
    "background": "BYTES",
}
MAX_PHOTOS = 8  # of one person, the portrait included
FILES = {"blink_reference", "pose_reference", "driving"}  # videos, sent as bytes
PICTURES = {"photos"}  # sent as several elements of bytes
SHAPES = {
    "photos": (-1,),
    "yaw": (-1, 2),
    "pitch": (-1, 2),
    "roll": (-1, 2),
    "blink_times": (-1,),
    "coefficients": (-1, 70),
}  # of all others: (1,)

PACKING = {"INT32": "<i", "INT64": "<q", "FP32": "<f", "BOOL": "<?"}
_WORDS = {"INT32": "a 32-bit integer", "INT64": "a 64-bit integer", "FP32": "a number", "BOOL": "True or False"}
_SHAPE_WORDS = {
    (-1, 2): "a number or pairs of seconds and degrees",
    (-1,): "a sequence of seconds",
    (-1, 70): "an array of numbers [frames, 70]",
}


def pack_bytes(content: bytes) -> bytes:
    """Return one element of a tensor of BYTES."""
    return struct.pack("<I", len(content)) + content


def pack_option(name: str, value: Any, limits: UploadLimits) -> tuple[tuple[int, ...], bytes]:
    """Return the shape and content of an option's tensor.

    Raises InvalidInputError for a value of another type and for a file beyond `limits`.
    """
    if name in PICTURES:
        return _pack_pictures(name, value, limits)
    if name in SHAPES:
        return _pack_array(name, value)
    datatype = DATATYPES[name]
    if datatype == "BYTES":
        if name in FILES:
            return (1,), pack_bytes(read_source(name, value, limits.video))
        if not isinstance(value, str):
            raise InvalidInputError(f"{name}: expected a string, got {value!r}")
        return (1,), pack_bytes(value.encode())
    try:
        if (datatype == "BOOL") != isinstance(value, bool):
            raise TypeError
        number = float(value) if datatype == "FP32" else operator.index(value)
        return (1,), struct.pack(PACKING[datatype], number)
    except (TypeError, ValueError, OverflowError, struct.error) as error:
        raise InvalidInputError(f"{name}: expected {_WORDS[datatype]}, got {value!r}") from error


def _pack_pictures(name: str, value: Any, limits: UploadLimits) -> tuple[tuple[int, ...], bytes]:
    if isinstance(value, bytes | str) or not isinstance(value, Sequence):
        raise InvalidInputError(f"{name}: expected a sequence of files, got {type(value).__name__}")
    if not 1 <= len(value) < MAX_PHOTOS:
        raise InvalidInputError(f"{name}: expected 1 to {MAX_PHOTOS - 1} besides the portrait, got {len(value)}")
    pictures = [read_source(f"photo {number}", source, limits.picture) for number, source in enumerate(value, 2)]
    return (len(pictures),), b"".join(map(pack_bytes, pictures))


def _pack_array(name: str, value: Any) -> tuple[tuple[int, ...], bytes]:
    shape = SHAPES[name]
    try:
        array = np.asarray(value, np.float32)
        if shape == (-1, 2) and array.ndim == 0:
            array = np.array([[0, array]], np.float32)
        array = array.reshape(-1, *shape[1:]) if array.size == 0 else array
        if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise ValueError
    except (TypeError, ValueError) as error:
        got = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
        raise InvalidInputError(f"{name}: expected {_SHAPE_WORDS[shape]}, got {got}") from error
    return array.shape, array.astype("<f4").tobytes()

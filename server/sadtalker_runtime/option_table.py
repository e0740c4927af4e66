"""The one declaration of what a request may ask for: names, types, ranges, units, defaults, a line of help.

`options.Options` and `live.options.LiveOptions` validate by it; `python -m sadtalker_runtime.generate` writes the
inputs of `sadtalker` and `sadtalker_live` in the model repository, the tables in README.md, docs/options.md and
docs/live.md from it; tests compare the client's types and command-line flags with it. Nothing but the standard library
and other declarations is imported here.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sadtalker_runtime.enhancers import BACKGROUNDS, ENHANCERS

Kind: TypeAlias = Literal["number", "flag", "choice", "text", "curve", "times", "coefficients", "file", "files"]

MAX_PHOTOS = 8
"""Most photos of one person, the portrait included."""
MAX_KEY_FRAMES = 10_000
"""Longest curve, and most blinks, of one request."""


@dataclass(frozen=True)
class Option:
    """One optional input of the models `sadtalker` or `sadtalker_live`.

    kind: number, a scalar; flag, true or false; choice, one of `choices`; text, a name that the server knows; curve,
    key frames [n, 2] of seconds and `unit`; times, seconds [n]; coefficients, an array [frames, 70]; file, the bytes
    of a video file; files, those of several pictures.
    """

    name: str
    kind: Kind
    datatype: str
    """Triton's name of the tensor's type, without TYPE_: INT32, INT64, FP32, BOOL or BYTES."""
    help: str
    """Its purpose, in one line of plain text."""
    low: float = -math.inf
    """Smallest number that is accepted; of a curve, of its values."""
    high: float = math.inf
    """Largest number that is accepted."""
    unit: str = ""
    default: int | float | bool | str | None = None
    """The value of an option that is left out; None where leaving it out means something else, see `absent`."""
    absent: str = ""
    """The meaning of leaving out an option that has no default."""
    choices: tuple[str, ...] = ()
    special: tuple[int, str] | None = None
    """A number outside the range that is accepted, too, and what it stands for."""

    @property
    def dims(self) -> tuple[int, ...]:
        """Shape of the tensor without its batch axis, -1 for any length."""
        return {"curve": (-1, 2), "times": (-1,), "coefficients": (-1, 70), "files": (-1,)}.get(self.kind, (1,))

    @property
    def expected(self) -> str:
        """The values that are accepted, in words: "0 to 45", "seconds from 1 on", "rgb24, jpeg, mp4"."""
        if self.choices:
            return (" or " if len(self.choices) == 2 else ", ").join(self.choices)
        if math.isfinite(self.high):
            text = f"{self.low:g} to {self.high:g}{f' {self.unit}' if self.unit else ''}"
        else:
            text = f"{self.unit or 'a number'} from {self.low:g} on"
        return text + (f", or {self.special[0]} for {self.special[1]}" if self.special else "")

    def accepts(self, value: float) -> bool:
        """Return whether a number is in the range."""
        if self.special and value == self.special[0]:
            return True
        return math.isfinite(value) and self.low <= value <= self.high


def _angle(name: str, help: str) -> Option:
    return Option(name, "curve", "FP32", help, -90, 90, "degrees", absent="from the speech")


OPTIONS = {
    option.name: option
    for option in (
        Option(
            "photos",
            "files",
            "BYTES",
            f"up to {MAX_PHOTOS - 1} further photos of the same person, shown where they are nearer to the face's "
            "expression and pose",
            absent="the portrait alone",
        ),
        Option("pose_style", "number", "INT32", "manner of moving the head", 0, 45, default=0),
        Option("expression_scale", "number", "FP32", "strength of the expression, 1 is natural", 0, 3, default=1.0),
        Option("head_motion_scale", "number", "FP32", "how far the head moves, 1 is natural", 0, 3, default=1.0),
        Option("still", "flag", "BOOL", "hold the head as in the portrait", default=False),
        _angle("yaw", "the head's angle to the side; smooth between key frames"),
        _angle("pitch", "the head's angle up and down; smooth between key frames"),
        _angle("roll", "the head's tilt; smooth between key frames"),
        Option("seed", "number", "INT64", "draws head motion and blinks; same seed, same bytes", 0, default=0),
        Option("blink", "flag", "BOOL", "blink now and then", default=True),
        Option(
            "blink_rate",
            "number",
            "FP32",
            "blinks, at random gaps",
            0,
            120,  # a blink takes 0.2 s
            "per minute",
            absent="every 0.6 to 3 seconds",
        ),
        Option("blink_times", "times", "FP32", "when the eyes begin to close", 0, unit="seconds", absent="at random"),
        Option("blink_reference", "file", "BYTES", "a video whose face lends its eyes, and the expression around them"),
        Option("pose_reference", "file", "BYTES", "a video whose face moves the head", absent="from the speech"),
        Option("driving", "file", "BYTES", "a video whose face moves the portrait; speech is then only heard"),
        Option("idle", "number", "FP32", "length of a seamless loop without speech", 1, unit="seconds"),
        Option(
            "settle",
            "number",
            "FP32",
            "in which the face leaves its rest at the beginning and returns to it at the end, so that videos, and a "
            "loop between them, can be joined",
            0,
            10,
            "seconds",
            default=0.0,
        ),
        Option(
            "speech_model",
            "text",
            "BYTES",
            "the model that gives expression and pose for speech, one that the server's configuration names",
            default="audio2coeff",
        ),
        Option(
            "coefficients",
            "coefficients",
            "FP32",
            "what moves the face, frame by frame: 64 of expression, 3 angles (radians), 3 translations; speech is then "
            "only heard",
        ),
        Option("coefficients_only", "flag", "BOOL", "only the coefficients, as a NumPy file", default=False),
        Option(
            "preview",
            "flag",
            "BOOL",
            "draw the 3-D keypoints, the head's axes and the expression instead of rendering the face: quick to make",
            default=False,
        ),
        Option("poster", "flag", "BOOL", "only the first frame, as a PNG file", default=False),
        Option(
            "size",
            "number",
            "INT32",
            "width and height of the rendered face; it must be what the server renders",
            unit="pixels",
            absent="the server's, 256 or 512",
        ),
        Option(
            "crop",
            "choice",
            "BYTES",
            "crop: the face; extcrop: more around it; resize: the picture squeezed into a square; full, extfull: the "
            "whole picture, the face or more around it blended in",
            choices=("crop", "extcrop", "resize", "full", "extfull"),
            default="crop",
        ),
        Option(
            "face_index",
            "number",
            "INT32",
            "which of several faces, from left to right",
            0,
            special=(-1, "the main face"),
            default=-1,
        ),
        Option(
            "enhance",
            "choice",
            "BYTES",
            f"{' or '.join(ENHANCERS)}: restore the face in every frame and double its edge (256 pixels only)",
            choices=("none", *ENHANCERS),
            default="none",
        ),
        Option(
            "background",
            "choice",
            "BYTES",
            f"{' or '.join(BACKGROUNDS)}: restore the picture around the face and double its edge, once per portrait "
            "(with crop full or extfull)",
            choices=("none", *BACKGROUNDS),
            default="none",
        ),
    )
}
"""Options of a video, the model `sadtalker`."""

FACE_OPTIONS = {
    name: OPTIONS[name]
    for name in (
        "pose_style",
        "expression_scale",
        "head_motion_scale",
        "still",
        "seed",
        "blink",
        "blink_rate",
        "size",
        "crop",
        "face_index",
        "enhance",
        "background",
        "speech_model",
    )
}
"""Options of a video that a live session has, too."""

LIVE_OPTIONS = {
    option.name: option
    for option in (
        Option(
            "look_ahead",
            "number",
            "INT32",
            "speech that must be known beyond the five frames that are rendered together; 4 suffice for the expression",
            0,
            13,  # the reach of the renderer's window
            "frames",
            default=4,
            special=(-1, "all that a recording's frame would have seen"),
        ),
        Option(
            "pace",
            "choice",
            "BYTES",
            "realtime: a frame every 40 ms, whatever happens; fast: frames of speech as soon as they are known",
            choices=("realtime", "fast"),
            default="realtime",
        ),
        Option("idle", "flag", "BOOL", "move while nothing is said, at pace realtime, or hold still", default=True),
        Option(
            "format",
            "choice",
            "BYTES",
            "rgb24: rows of pixels; jpeg: a file per frame; mp4: one endless fragmented file with sound",
            choices=("rgb24", "jpeg", "mp4"),
            default="jpeg",
        ),
    )
}
"""Options of a live session alone, the model `sadtalker_live`."""

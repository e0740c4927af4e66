"""What a caller may ask of a video, with defaults."""

import math
from dataclasses import dataclass

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError, excerpt
from sadtalker_runtime.timing import FRAME_RATE

POSE_STYLES = 46
MAX_SCALE = 3.0
MAX_BLINK_RATE = 120.0  # per minute: a blink takes 0.2 s
MAX_ANGLE = 90.0  # degrees
MAX_KEY_FRAMES = 10_000  # and blinks
CROPS = "crop", "extcrop", "resize", "full", "extfull"
ENHANCERS = {"none": 1, "gfpgan": 2}  # and how much larger they make a frame
MIN_GAP = 1 / FRAME_RATE - 1e-4  # seconds between key frames: a frame, less what float32 rounds off at 600 s
MIN_IDLE = 1.0  # seconds
MAX_SETTLE = 10.0  # seconds


@dataclass(frozen=True)
class Options:
    """Options of one video.

    Raises:
        InputError: a value is out of range or contradicts another; the message names it.
    """

    pose_style: int = 0
    """Manner of moving the head, 0 to 45."""
    expression_scale: float = 1.0
    """Factor on the expression, 0 to 3."""
    head_motion_scale: float = 1.0
    """Factor on how far the head moves from its pose in the portrait, 0 to 3."""
    still: bool = False
    """Hold the head as in the portrait."""
    yaw: Array | None = None
    """Key frames, float32 [n, 2] of seconds (increasing) and degrees (-90 to 90): the head's angle to the side."""
    pitch: Array | None = None
    """As `yaw`: the head's angle up and down."""
    roll: Array | None = None
    """As `yaw`: the head's tilt."""
    seed: int = 0
    """Of head motion and blinks, from 0 on."""
    blink: bool = True
    blink_rate: float | None = None
    """Blinks per minute, 0 to 120, at random gaps; by default every 0.6 to 3 seconds."""
    blink_times: Array | float | None = None
    """When the eyes begin to close instead: float32 [n], seconds."""
    crop: str = "crop"
    """What the video shows: crop, the face; extcrop, more around it; resize, the picture squeezed into a square; full
    and extfull, the picture in its own size with the face, or more around it, blended in."""
    face_index: int = -1
    """Which of several faces, from left to right, from 0 on; -1 is the main one."""
    blink_reference: bytes | None = None
    """A video file whose face lends its eyes, and the expression around them, to the speech."""
    pose_reference: bytes | None = None
    """A video file whose face moves the head instead of the speech."""
    driving: bytes | None = None
    """A video file whose face moves the portrait, expression and pose; speech, if any, is then only heard."""
    idle: float | None = None
    """Seconds of a loop without speech, from 1 on."""
    settle: float = 0.0
    """Seconds, 0 to 10, in which the face leaves its rest at the beginning and returns to it at the end, so that clips,
    and an `idle` loop between them, can be joined; at most half of the video. A loop does so anyway."""
    speech_model: str = "audio2coeff"
    """The model that gives expression and pose for speech; the server's configuration says which there are."""
    coefficients: Array | None = None
    """What moves the face instead, frame by frame: float32 [frames, 70], 64 expression, 3 angles (radians), 3
    translations; speech, if any, is then only heard."""
    coefficients_only: bool = False
    """Only the coefficients, as a NumPy file of float32 [frames, 70], before they are scaled."""
    poster: bool = False
    """Only the first frame, as a PNG file."""
    size: int | None = None
    """Width and height of the rendered face, pixels; by default what the server renders, and it must be that."""
    enhance: str = "none"
    """What restores the face in every frame: none, or gfpgan, which doubles its width and height."""

    def __post_init__(self) -> None:
        if not 0 <= self.pose_style < POSE_STYLES:
            raise InputError(f"pose_style: expected 0 to {POSE_STYLES - 1}, got {self.pose_style}")
        for name in ("expression_scale", "head_motion_scale"):
            scale = getattr(self, name)
            if not (math.isfinite(scale) and 0 <= scale <= MAX_SCALE):
                raise InputError(f"{name}: expected 0 to {MAX_SCALE:g}, got {scale:g}")
        if self.seed < 0:
            raise InputError(f"seed: expected a number from 0 on, got {self.seed}")
        if self.crop not in CROPS:
            raise InputError(f"crop: expected {', '.join(CROPS)}, got {excerpt(self.crop)!r}")
        if self.face_index < -1:
            raise InputError(f"face_index: expected a number from 0 on, or -1 for the main face, got {self.face_index}")
        if self.enhance not in ENHANCERS:
            raise InputError(f"enhance: expected {' or '.join(ENHANCERS)}, got {excerpt(self.enhance)!r}")
        for name in ("yaw", "pitch", "roll"):
            if (key_frames := getattr(self, name)) is not None:
                _check_key_frames(name, key_frames)
        if self.idle is not None and not (math.isfinite(self.idle) and self.idle >= MIN_IDLE):
            raise InputError(f"idle: expected seconds from {MIN_IDLE:g} on, got {self.idle:g}")
        if not (math.isfinite(self.settle) and 0 <= self.settle <= MAX_SETTLE):
            raise InputError(f"settle: expected 0 to {MAX_SETTLE:g} seconds, got {self.settle:g}")
        self._check_blinks()
        if self.coefficients is not None:
            if not np.isfinite(self.coefficients).all():
                raise InputError("coefficients: expected finite values, got NaN or infinity")
            for name in ("driving", "idle", "pose_reference", "blink_reference", "blink_rate", "blink_times"):
                if getattr(self, name) is not None:
                    raise InputError(f"coefficients: expected without {name}, got both")
        if self.driving is not None:
            for name in ("idle", "pose_reference", "blink_reference", "blink_rate", "blink_times"):
                if getattr(self, name) is not None:
                    raise InputError(f"driving: expected without {name}, got both")

    @property
    def full(self) -> bool:
        """Whether the whole picture is shown."""
        return self.crop in ("full", "extfull")

    def check_length(self, seconds: float) -> None:
        """Raise InputError where key frames lie beyond a video of so many seconds."""
        for name in ("yaw", "pitch", "roll"):
            if (key_frames := getattr(self, name)) is not None and key_frames[-1, 0] > seconds + MIN_GAP:
                raise InputError(
                    f"{name}: expected times within the video's {seconds:g} s, got {_brief(key_frames[-1:, 0])}"
                )

    def _check_blinks(self) -> None:
        if self.blink_rate is not None and not 0 <= self.blink_rate <= MAX_BLINK_RATE:
            raise InputError(f"blink_rate: expected 0 to {MAX_BLINK_RATE:g} per minute, got {self.blink_rate:g}")
        if self.blink_times is not None:
            times = np.atleast_1d(self.blink_times)
            if len(times) > MAX_KEY_FRAMES or not (np.isfinite(times) & (times >= 0)).all():
                raise InputError(f"blink_times: expected up to {MAX_KEY_FRAMES} times from 0 s on, got {_brief(times)}")
            object.__setattr__(self, "blink_times", times)
        given = {"blink=False": not self.blink} | {
            name: getattr(self, name) is not None for name in ("blink_rate", "blink_times", "blink_reference")
        }
        if sum(given.values()) > 1:
            asked = " and ".join(name for name, is_given in given.items() if is_given)
            raise InputError(f"blink: expected at most one of {', '.join(given)}, got {asked}")


def _check_key_frames(name: str, key_frames: Array) -> None:
    times, degrees = key_frames.T
    if not 1 <= len(times) <= MAX_KEY_FRAMES:
        raise InputError(f"{name}: expected 1 to {MAX_KEY_FRAMES} key frames, got {len(times)}")
    if not (np.isfinite(times).all() and times[0] >= 0 and (np.diff(times.astype(np.float64)) >= MIN_GAP).all()):
        raise InputError(
            f"{name}: expected increasing times from 0 s on, {1 / FRAME_RATE:g} s apart or more, got {_brief(times)}"
        )
    if not (np.abs(degrees) <= MAX_ANGLE).all():
        raise InputError(f"{name}: expected -{MAX_ANGLE:g} to {MAX_ANGLE:g} degrees, got {_brief(degrees)}")


def _brief(values: Array) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return shown + (", ..." if len(values) > 8 else "")

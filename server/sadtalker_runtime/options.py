"""The options of one video, validated."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.enhancers import ENHANCERS, FULL_RENDERER, RENDERER
from sadtalker_runtime.errors import InputError, excerpt
from sadtalker_runtime.option_table import MAX_KEY_FRAMES, OPTIONS, Option
from sadtalker_runtime.timing import FRAME_RATE

MIN_GAP = 1 / FRAME_RATE - 1e-4  # seconds between key frames: a frame, less what float32 rounds off at 600 s
MIN_IDLE = OPTIONS["idle"].low
"""Seconds of the shortest loop."""


@dataclass(frozen=True)
class Options:
    """Options of one video; `option_table.OPTIONS` says what each means and which values it may have.

    `photos` are encoded pictures besides the portrait. Key frames (yaw, pitch, roll) are float32 [n, 2] of increasing
    seconds and degrees, blink times float32 [n] seconds.

    Raises:
        InputError: a value is out of range or contradicts another; the message names it.
    """

    photos: tuple[bytes, ...] | None = None
    pose_style: int = 0
    expression_scale: float = 1.0
    head_motion_scale: float = 1.0
    still: bool = False
    yaw: Array | None = None
    pitch: Array | None = None
    roll: Array | None = None
    seed: int = 0
    blink: bool = True
    blink_rate: float | None = None
    blink_times: Array | float | None = None
    blink_reference: bytes | None = None
    pose_reference: bytes | None = None
    driving: bytes | None = None
    idle: float | None = None
    settle: float = 0.0
    speech_model: str = "audio2coeff"
    coefficients: Array | None = None
    coefficients_only: bool = False
    preview: bool = False
    poster: bool = False
    size: int | None = None
    crop: str = "crop"
    face_index: int = -1
    enhance: str = "none"
    background: str = "none"

    def __post_init__(self) -> None:
        for option in OPTIONS.values():
            check_option(option, getattr(self, option.name))
        self._check_blinks()
        if self.background != "none" and not self.full:
            raise InputError(f"background: expected with crop full or extfull, got crop {self.crop}")
        for name in ("enhance", "background"):
            if self.preview and getattr(self, name) != "none":
                raise InputError(f"preview: expected without {name}, got both")
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

    @property
    def renderer(self) -> str:
        """The model that renders frames as these options ask."""
        if self.enhance != "none":
            return ENHANCERS[self.enhance].renderer(self.full)
        return FULL_RENDERER if self.full else RENDERER

    @property
    def scale(self) -> int:
        """How much larger that model's frames are than the renderer's."""
        return ENHANCERS[self.enhance].scale if self.enhance != "none" else 1

    def check_length(self, seconds: float) -> None:
        """Raise InputError where key frames lie beyond a video of so many seconds."""
        for name in ("yaw", "pitch", "roll"):
            if (key_frames := getattr(self, name)) is not None and key_frames[-1, 0] > seconds + MIN_GAP:
                raise InputError(
                    f"{name}: expected times within the video's {seconds:g} s, got {_brief(key_frames[-1:, 0])}"
                )

    def _check_blinks(self) -> None:
        if self.blink_times is not None:
            object.__setattr__(self, "blink_times", np.atleast_1d(self.blink_times))
        given = {"blink=False": not self.blink} | {
            name: getattr(self, name) is not None for name in ("blink_rate", "blink_times", "blink_reference")
        }
        if sum(given.values()) > 1:
            asked = " and ".join(name for name, is_given in given.items() if is_given)
            raise InputError(f"blink: expected at most one of {', '.join(given)}, got {asked}")


def check_option(option: Option, value: Any) -> None:
    """Raise InputError for a value outside the option's range; an absent one is in order."""
    if value is None:
        return
    if option.kind == "curve":
        _check_curve(option, value)
    elif option.kind == "times":
        times = np.atleast_1d(value)
        if len(times) > MAX_KEY_FRAMES or not all(map(option.accepts, times.tolist())):
            expected = f"up to {MAX_KEY_FRAMES} times from {option.low:g} s on"
            raise InputError(f"{option.name}: expected {expected}, got {_brief(times)}")
    elif option.kind == "choice":
        if value not in option.choices:
            raise InputError(f"{option.name}: expected {option.expected}, got {excerpt(value)!r}")
    elif option.kind == "number" and not option.accepts(value):
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        raise InputError(f"{option.name}: expected {option.expected}, got {shown}")


def _check_curve(option: Option, key_frames: Array) -> None:
    times, values = key_frames.T
    if not 1 <= len(times) <= MAX_KEY_FRAMES:
        raise InputError(f"{option.name}: expected 1 to {MAX_KEY_FRAMES} key frames, got {len(times)}")
    if not (np.isfinite(times).all() and times[0] >= 0 and (np.diff(times.astype(np.float64)) >= MIN_GAP).all()):
        raise InputError(
            f"{option.name}: expected increasing times from 0 s on, {1 / FRAME_RATE:g} s apart or more, "
            f"got {_brief(times)}"
        )
    if not all(map(option.accepts, values.tolist())):
        raise InputError(f"{option.name}: expected {option.expected}, got {_brief(values)}")


def _brief(values: Array) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return shown + (", ..." if len(values) > 8 else "")

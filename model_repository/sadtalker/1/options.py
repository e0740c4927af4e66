"""What a caller may ask of a video, with defaults."""

import math
from dataclasses import dataclass

from .errors import InputError

POSE_STYLES = 46
MAX_EXPRESSION_SCALE = 3.0
SIZE = 256  # pixels, what the exported renderer gives


@dataclass(frozen=True)
class Options:
    """Options of one video.

    Raises:
        InputError: a value is out of range; the message names it.
    """

    pose_style: int = 0
    """Manner of moving the head, 0 to 45."""
    expression_scale: float = 1.0
    """Factor on the expression, 0 to 3."""
    still: bool = False
    """Hold the head as in the portrait."""
    seed: int = 0
    """Of head motion and blinks, from 0 on."""
    blink: bool = True
    size: int = SIZE
    """Width and height of the video, pixels."""

    def __post_init__(self) -> None:
        if not 0 <= self.pose_style < POSE_STYLES:
            raise InputError(f"pose_style: expected 0 to {POSE_STYLES - 1}, got {self.pose_style}")
        if not (math.isfinite(self.expression_scale) and 0 <= self.expression_scale <= MAX_EXPRESSION_SCALE):
            raise InputError(f"expression_scale: expected 0 to {MAX_EXPRESSION_SCALE:g}, got {self.expression_scale:g}")
        if self.seed < 0:
            raise InputError(f"seed: expected a number from 0 on, got {self.seed}")
        if self.size != SIZE:
            raise InputError(f"size: expected {SIZE}, which this server renders, got {self.size}")

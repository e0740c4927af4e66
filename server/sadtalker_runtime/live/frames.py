"""Frames that a live session hands out, and its bounds."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from sadtalker_runtime.animation.windows import CHUNK
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.live.utterance import SOUND_PER_FRAME

NOTHING = -1  # the number of no utterance


class SessionIdleError(RuntimeError):
    """The caller has not been heard of for too long."""


class CallerGoneError(RuntimeError):
    """The caller cancelled the session or is not connected any more."""


@dataclass(frozen=True)
class Limits:
    """Limits of one session."""

    utterance_seconds: float
    """A longer utterance goes on as another one."""
    pending_seconds: float
    """Speech that is not shown yet."""
    idle_seconds: float
    """Without any request, even one that only says what was received; then the session ends."""
    unacknowledged_frames: int
    """Frames that are sent before the caller says that it received them."""
    chunks_in_flight: int


@dataclass(frozen=True)
class Split:
    """Where the time from a frame's speech to the frame went, seconds."""

    look_ahead: float
    queue: float
    compute: float


@dataclass(frozen=True)
class Frame:
    """A frame that is due."""

    picture: Array
    """uint8 [side, side, 3]."""
    sound: Array
    """int16 [1920], 48 kHz, what is heard with it."""
    index: int
    """It is due `index / 25` seconds after the first."""
    utterance: int
    """Whose it is, -1: nobody's."""
    ends: bool
    """Whether it is the last of its utterance."""
    late: bool
    """Whether an earlier picture stands in for it."""
    split: Split | None
    """True for a frame of an utterance."""


@dataclass
class Chunk:
    """Frames that are planned together."""

    frames: int
    rendering: "asyncio.Task[Array] | None"
    """None: the last picture stays."""
    pictures: Array | None = None
    sound: Array = field(default_factory=lambda: np.zeros((CHUNK, SOUND_PER_FRAME), np.int16))
    utterance: int = NOTHING
    ends: bool = False
    arrivals: list[float] = field(default_factory=list)
    ready: float = 0.0
    compute: float = 0.0
    shown: int = 0

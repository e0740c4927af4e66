"""Frames that a live session hands out, and its bounds."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from sadtalker_runtime.animation.windows import CHUNK
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.live.utterance import SOUND_PER_FRAME

NOTHING = -1  # utterance number of a frame in which nothing is said


class SessionIdleError(RuntimeError):
    """The caller has sent nothing for too long."""


class CallerGoneError(RuntimeError):
    """The caller cancelled the session or is not connected any more."""


@dataclass(frozen=True)
class Limits:
    """Limits of one session."""

    utterance_seconds: float
    """A longer utterance continues as the next one."""
    pending_seconds: float
    """Speech that is not shown yet."""
    idle_seconds: float
    """Without any request, even one that only says what was received; then the session ends."""
    unacknowledged_frames: int
    """Frames that are sent before the caller says that it received them."""
    chunks_in_flight: int


@dataclass(frozen=True)
class Split:
    """The parts of a frame's latency, from its speech to the frame, seconds."""

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
    """Number of its utterance; -1 where nothing is said."""
    ends: bool
    """Whether it is the last of its utterance."""
    late: bool
    """Whether an earlier picture is shown in its place."""
    split: Split | None
    """True for a frame of an utterance."""


@dataclass
class Chunk:
    """Frames that are planned together."""

    frames: int
    rendering: "asyncio.Task[Array] | None"
    """None: the last picture is shown again."""
    pictures: Array | None = None
    sound: Array = field(default_factory=lambda: np.zeros((CHUNK, SOUND_PER_FRAME), np.int16))
    utterance: int = NOTHING
    ends: bool = False
    arrivals: list[float] = field(default_factory=list)
    ready: float = 0.0
    compute: float = 0.0
    shown: int = 0

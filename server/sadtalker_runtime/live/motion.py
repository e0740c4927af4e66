"""The motion of one utterance while it is being spoken: which of its frames can be shown, and their coefficients."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import numpy as np

from sadtalker_runtime.animation.windows import CHUNK, EXPRESSION_SIZE, FIRST_RANGE, POSE_CHUNK, RADIUS, SIZE
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.live.options import FULL
from sadtalker_runtime.live.trajectory import SEAM_EASING, Trajectory
from sadtalker_runtime.live.utterance import Utterance
from sadtalker_runtime.timing import SAMPLES_PER_FRAME

MEL_REACH = 3  # frames beyond its own that a frame's mel window touches
BLINK = 5  # frames at the end of a clip in which no blink may lie

PERIOD = 5 * POSE_CHUNK  # frames: windows of speech and chunks of the pose network begin alike every so many
MEMORY = 1000  # frames of speech, 40 s, that an early motion looks back on, at least

Speak = Callable[[Array, int, int, int, bool], Awaitable[Array]]
"""A function `speak(waveform, first, start, stop, whole)` that returns coefficients float32 [stop - start, 70].

The waveform begins with the speech of frame `first`; `whole` says whether it goes on to the utterance's end, so that
blinks end before it does."""


class Motion(Protocol):
    """An utterance's coefficients, chunk by chunk."""

    reserve: int
    """Frames that must be known at its beginning, so that it need not pause while speech comes as it is spoken."""

    def ready(self, start: int) -> int:
        """Return how many of the next 5 frames from `start` on can be shown now."""

    def needed(self, start: int) -> int:
        """Return how many frames of an unfinished utterance must be known before 5 from `start` on can be shown."""

    async def rows(self, start: int, frames: int) -> Array:
        """Return coefficients of frames [start, start + frames), which are ready, and what is known beyond: [n, 70]."""


def motion_of(utterance: Utterance, look_ahead: int, speak: Speak) -> Motion:
    """Return the motion with that look-ahead."""
    return ExactMotion(utterance, speak) if look_ahead == FULL else EarlyMotion(utterance, look_ahead, speak)


class ExactMotion:
    """Waits until every frame has the coefficients that it would have in the complete recording."""

    reserve = CHUNK + RADIUS + POSE_CHUNK + MEL_REACH + 1 + POSE_CHUNK - FIRST_RANGE - 1

    def __init__(self, utterance: Utterance, speak: Speak) -> None:
        self._utterance = utterance
        self._speak = speak
        self._known = np.empty((0, SIZE), np.float32)

    @property
    def _exact(self) -> int:
        """Frames whose coefficients more speech would not change."""
        frames = self._utterance.frames
        if self._utterance.complete:
            return frames
        pose_chunks = max(frames - MEL_REACH - 1, 0) // POSE_CHUNK
        return max(min(frames - BLINK, FIRST_RANGE + POSE_CHUNK * (pose_chunks - 1)), 0)

    def ready(self, start: int) -> int:
        """Return how many of the next 5 frames from `start` on can be shown now."""
        if self._utterance.complete:
            return min(self._utterance.frames - start, CHUNK)
        return CHUNK if start + CHUNK + RADIUS <= self._exact else 0

    def needed(self, start: int) -> int:
        """Return how many frames of an unfinished utterance must be known before 5 from `start` on can be shown."""
        seen = start + CHUNK + RADIUS
        pose_chunks = 1 + max(-(-(seen - FIRST_RANGE) // POSE_CHUNK), 0)
        return max(POSE_CHUNK * pose_chunks + MEL_REACH + 1, seen + BLINK)

    async def rows(self, start: int, frames: int) -> Array:
        """Return the coefficients of frames [start, start + frames), which are ready, and of 13 beyond: [n, 70]."""
        needed = min(start + frames + RADIUS, self._exact)
        while (known := len(self._known)) < needed:
            stop = FIRST_RANGE + -(-max(known + 1 - FIRST_RANGE, 0) // POSE_CHUNK) * POSE_CHUNK
            whole, stop = self._utterance.complete, min(stop, self._exact)
            rows = await self._speak(self._utterance.waveform, 0, known, stop, whole)
            self._known = np.concatenate([self._known, rows])
        return self._known[start:needed]


class EarlyMotion:
    """Waits for `look_ahead` frames beyond a chunk, no more.

    Expressions are worked out anew for every chunk, from the speech that is known by then; its last 3 frames hear
    silence where more is to come. The head's motion, which wants 1.28 s at a time, is drawn with the speech so far
    played backwards in place of what is not yet spoken; at the seams it eases as from one motion to another.
    What comes out depends on the speech alone, not on when its pieces arrive. Of a long utterance, only the last 40 to
    47 s are looked at.
    """

    def __init__(self, utterance: Utterance, look_ahead: int, speak: Speak) -> None:
        self._utterance = utterance
        self._look_ahead = look_ahead
        self.reserve = CHUNK + look_ahead
        self._speak = speak
        self._poses = np.empty((0, SIZE), np.float32)
        self._seams = Trajectory(SEAM_EASING)

    def ready(self, start: int) -> int:
        """Return how many of the next 5 frames from `start` on can be shown now."""
        if self._utterance.complete:
            return min(self._utterance.frames - start, CHUNK)
        return CHUNK if self.needed(start) <= self._utterance.frames else 0

    def needed(self, start: int) -> int:
        """Return how many frames of an unfinished utterance must be known before 5 from `start` on can be shown."""
        return start + CHUNK + self._look_ahead

    async def rows(self, start: int, frames: int) -> Array:
        """Return coefficients of frames [start, start + frames), which are ready, and `look_ahead` beyond: [n, 70]."""
        stop = min(start + CHUNK + self._look_ahead, self._utterance.frames)
        heard = self._utterance.waveform[: stop * SAMPLES_PER_FRAME]
        while len(self._poses) < stop:
            await self._next_poses(heard)
        rows = await self._recall(heard, start, stop)
        return np.concatenate([rows[:, :EXPRESSION_SIZE], self._poses[start:stop, EXPRESSION_SIZE:]], axis=1)

    async def _next_poses(self, heard: Array) -> None:
        """Draw the next frames of a whole chunk of the pose network: 33, then 32 at a time."""
        known = len(self._poses)
        stop = (known or 1) + POSE_CHUNK
        missing = max((stop + MEL_REACH + 1) * SAMPLES_PER_FRAME - len(heard), 0)
        drawn = await self._recall(np.pad(heard, (0, missing), mode="symmetric"), known, stop)
        if known:
            self._seams.turn()
        for at in range(0, len(drawn), CHUNK):
            part = drawn[at : at + CHUNK]
            seen = self._seams.plan(part, len(part))[: len(part), :, RADIUS]
            self._poses = np.concatenate([self._poses, seen])

    async def _recall(self, heard: Array, start: int, stop: int) -> Array:
        """Return the coefficients of frames [start, stop), from the end of what was heard."""
        first = max(start - MEMORY, 0) // PERIOD * PERIOD
        return await self._speak(heard[first * SAMPLES_PER_FRAME :], first, start, stop, False)

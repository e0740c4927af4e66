"""The coefficients of a session's frames, one after the other, without a jump where one motion follows another."""

import numpy as np

from sadtalker_runtime.animation.windows import CHUNK, EXPRESSION_SIZE, RADIUS, SIZE, WINDOW
from sadtalker_runtime.arrays import Array

POSE_EASING = 25  # frames until the head follows a new motion entirely
SEAM_EASING = 10  # the same, at a seam between two chunks of the pose network
EXPRESSION_EASING = 5  # the same for the face: a longer easing would keep the mouth from speaking
RETURN = POSE_EASING + RADIUS  # frames until the renderer sees the new motion alone
DECAY = 0.8  # of the head's speed in a frame, while the motion that it comes from fades
KEPT = 256  # frames that may be taken back, at least


class Trajectory:
    """The motion that the renderer was, and will be, given.

    A motion is a source of coefficients: an utterance, or rest. Where a new one begins (`turn`), the face leaves the
    last coefficients smoothly: c(k) = (1 - w(k)) h(k) + w(k) m(k) for the k-th frame of the new motion m, with w a
    smooth step over `pose_easing` frames for the pose and 5 for the expression. h(k) is the last frame's expression,
    and its pose, which goes on with the speed it had, decaying by 0.8 per frame. A session's first motion is taken as
    it is.
    """

    def __init__(self, pose_easing: int = POSE_EASING) -> None:
        self._pose_easing = pose_easing
        self.count = 0
        """Frames planned."""
        self._rows: list[Array] = []  # the last of them
        self._since = 0
        self._from: tuple[Array, Array] | None = None  # coefficients and their speed

    def turn(self) -> None:
        """Let a new motion begin with the next frame."""
        self._since = self.count
        if self._rows:
            self._from = self._rows[-1], _speed(self._rows)

    def plan(self, motion: Array, frames: int, then: Array | None = None) -> Array:
        """Plan the next `frames` (up to 5) and return their windows: float32 [5, 70, 27].

        Args:
            motion: float32 [at least `frames`, 70], the motion's next coefficients, of which those beyond `frames` are
                only looked at; the last stands in for what is not known.
            then: float32 [n, 70], the motion that follows where `motion` ends.
        """
        motion = self._eased(motion)
        past = self._rows[-RADIUS:]
        seen = [*past, *motion]
        if then is not None:
            speed = _speed(seen)
            seen += [*_ease(then, seen[-1], speed, 1, self._pose_easing)]
        rows = np.stack(seen).astype(np.float32)
        centres = len(past) + np.minimum(np.arange(CHUNK), frames - 1)
        indices = np.clip(centres[:, None] + np.arange(WINDOW) - RADIUS, 0, len(rows) - 1)
        self.follow(motion[:frames], eased=True)
        return np.ascontiguousarray(rows[indices].transpose(0, 2, 1))

    def follow(self, motion: Array, eased: bool = False) -> None:
        """Note the coefficients of frames that need not be rendered: float32 [n, 70]."""
        rows = motion if eased else self._eased(motion)
        self._rows = [*self._rows, *rows][-KEPT:]
        self.count += len(rows)

    def take_back(self, frames: int) -> None:
        """Forget the last `frames` planned."""
        if frames:
            self._rows = self._rows[:-frames]
            self.count -= frames

    def _eased(self, motion: Array) -> Array:
        if self._from is None:
            return motion
        return _ease(motion, *self._from, self.count - self._since + 1, self._pose_easing)


def _ease(motion: Array, last: Array, speed: Array, first: int, pose_easing: int) -> Array:
    """Lead from the coefficients `last` to a motion of which the first row is its frame number `first`, from 1 on."""
    k = np.arange(first, first + len(motion))[:, None]
    weights = np.where(np.arange(SIZE) < EXPRESSION_SIZE, _step(k / EXPRESSION_EASING), _step(k / pose_easing))
    held = last + speed * DECAY * (1 - DECAY**k) / (1 - DECAY)
    eased: Array = np.where(weights < 1, held + weights * (motion - held), motion).astype(np.float32)
    return eased


def _speed(rows: list[Array]) -> Array:
    """Return how far the pose moved in the last frame; expressions come to rest at once."""
    speed: Array = rows[-1] - rows[-2] if len(rows) > 1 else np.zeros(SIZE, np.float32)
    speed[:EXPRESSION_SIZE] = 0
    return speed


def _step(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    smooth: Array = x * x * (3 - 2 * x)
    return smooth

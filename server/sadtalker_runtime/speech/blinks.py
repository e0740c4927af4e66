"""When the eyes close: a curve of blinks, at random gaps or at given times."""

from collections.abc import Callable

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.timing import FRAME_RATE

BLINK = np.array([0.5, 0.9, 1.0, 0.9, 0.5], np.float32)  # closing and opening over 0.2 s
SHORTEST_GAP, LONGEST_GAP = 10, 70  # frames
SHORTEST_CLIP = 22  # frames; a shorter one has no blinks
FRAMES_PER_MINUTE = FRAME_RATE * 60


def blink_curve(frames: int, seed: int) -> Array:
    """Return how far the eyes are closed in every frame of a clip: float32 [frames], in [0, 1].

    Gaps are drawn from 10 to 69 frames. Only a blink at the very end depends on how long the clip is, so that speech
    that is still being spoken blinks as its recording would.
    """
    if frames < SHORTEST_CLIP:
        return np.zeros(frames, np.float32)
    rng = np.random.default_rng(seed)
    return _after_gaps(frames, lambda: int(rng.integers(SHORTEST_GAP, LONGEST_GAP)))


def blink_curve_at_rate(frames: int, per_minute: float, seed: int) -> Array:
    """Return a `blink_curve` with so many blinks per minute; gaps are drawn from half to 1.5 times their mean.

    The first gap may be shorter, so that clips of any length blink at that rate.
    """
    if per_minute == 0:
        return np.zeros(frames, np.float32)
    rng = np.random.default_rng(seed)
    mean = FRAMES_PER_MINUTE / per_minute - len(BLINK)
    shortest = 0.0  # then half of the mean

    def gap() -> int:
        nonlocal shortest
        low, shortest = shortest, mean / 2
        return max(round(rng.uniform(low, 1.5 * mean)), 1)

    return _after_gaps(frames, gap)


def blink_curve_at_times(frames: int, seconds: Array) -> Array:
    """Return a `blink_curve` with eyes that begin to close at given times; those outside of the clip are left out."""
    curve = np.zeros(frames + len(BLINK), np.float32)
    for start in (round(at * FRAME_RATE) for at in seconds):
        if 0 <= start < frames:
            blink = curve[start : start + len(BLINK)]
            np.maximum(blink, BLINK, out=blink)
    return curve[:frames]


def _after_gaps(frames: int, gap: Callable[[], int]) -> Array:
    """Return blinks, each after `gap()` open frames, as long as the last is followed by an open frame."""
    curve = np.zeros(frames, np.float32)
    end = 0
    while True:
        start = end + gap()
        end = start + len(BLINK)
        if end >= frames:
            return curve
        curve[start:end] = BLINK

"""Head pose over a clip: the speech that each 32-frame chunk sees, its latent, and smoothing over time.

Frame 0 is the reference pose itself. The network predicts the motion of frames 1, 2, ... in chunks of 32. Any
range of frames can be worked out alone and comes out the same as within the whole clip.
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import savgol_filter

from sadtalker_runtime.arrays import Array

CHUNK = 32  # frames
LATENT_SIZE = 64
STYLES = 46
SMOOTHING_WINDOW, SMOOTHING_ORDER = 13, 2  # of the Savitzky-Golay filter, frames


@dataclass(frozen=True)
class PoseChunk:
    """One run of the pose network."""

    index: int
    start: int
    """First frame that the chunk gives."""
    stop: int
    """One past its last frame; the last `stop - start` rows of the network's answer are these frames."""
    heard: Array
    """int [32], the frames whose speech the network is given."""


def pose_chunks(start: int, stop: int, frames: int) -> list[PoseChunk]:
    """Return the chunks that give the pose of frames [start, stop) of a clip.

    The last chunk of a clip is seldom full: it hears the clip's final 32 frames again and only its tail is
    new. A clip with fewer than 32 moving frames repeats the speech of the first of them in front.
    """
    chunks = []
    for index in range(max(start - 1, 0) // CHUNK, -(-(stop - 1) // CHUNK)):
        first = 1 + index * CHUNK
        last = min(first + CHUNK, frames)
        chunks.append(PoseChunk(index, first, last, np.maximum(np.arange(last - CHUNK, last), 1)))
    return chunks


def pose_latent(seed: int, chunk: int) -> Array:
    """Return the latent of one chunk: float32 [64], standard normal, independent of the clip's length."""
    return np.random.default_rng([seed, chunk]).standard_normal(LATENT_SIZE).astype(np.float32)


def smoothing_range(start: int, stop: int, frames: int) -> tuple[int, int]:
    """Return the frames that must be known so that `smooth` gives [start, stop) as it would in the whole clip."""
    reach = SMOOTHING_WINDOW // 2
    low, high = max(start - reach, 0), min(stop + reach, frames)
    if start < reach:  # the ends of a clip are fitted to its outermost window
        high = max(high, min(SMOOTHING_WINDOW, frames))
    if stop > frames - reach:
        low = min(low, max(frames - SMOOTHING_WINDOW, 0))
    return low, high


def smooth(pose: Array) -> Array:
    """Smooth along time with a Savitzky-Golay filter.

    Args:
        pose: float32 [frames, 6]. Under 13 frames the window is the largest odd number of them; one or two
            frames stay as they are.
    """
    window = min(SMOOTHING_WINDOW, (len(pose) - 1) // 2 * 2 + 1)
    if window <= SMOOTHING_ORDER:
        return pose
    smoothed: Array = savgol_filter(pose, window, SMOOTHING_ORDER, axis=0)
    return smoothed

"""Head angles that a caller gives: key frames to a smooth curve, in degrees, for the renderer's `head_angles`."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.timing import FRAME_RATE

NO_ANGLE = 360.0  # beyond 180: the network's own angle stays


def angle_curve(key_frames: Array | None, frames: int, loops: bool) -> Array:
    """Return one angle in every frame of a video: float32 [frames], degrees, or all NO_ANGLE without key frames.

    Between key frames the curve is monotone and smooth (Fritsch and Carlson's piecewise cubic), so that it never goes
    beyond them; before the first and after the last it is constant. In a loop it leads back to its beginning.

    Args:
        key_frames: float32 [n, 2], seconds (increasing) and degrees.
    """
    if key_frames is None:
        return np.full(frames, NO_ANGLE, np.float32)
    times, degrees = np.asarray(key_frames, np.float64).T
    if loops:
        length = frames / FRAME_RATE
        within = times < length
        times, degrees = (times[within], degrees[within]) if within.any() else (np.zeros(1), degrees[:1])
        times, degrees = np.concatenate([times - length, times, times + length]), np.tile(degrees, 3)
    times = np.array([times[0] - 1, *times, times[-1] + 1])  # so that both ends have zero slope
    degrees = np.pad(degrees, 1, mode="edge")
    seconds = np.clip(np.arange(frames) / FRAME_RATE, times[0], times[-1])
    curve: Array = PchipInterpolator(times, degrees)(seconds).astype(np.float32)
    return curve


def angle_curves(key_frames: Sequence[Array | None], frames: int, loops: bool) -> Array:
    """Return yaw, pitch and roll of every frame, each by its key frames: float32 [frames, 3]."""
    return np.stack([angle_curve(keys, frames, loops) for keys in key_frames], axis=1)

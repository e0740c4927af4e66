"""Measures of frames, uint8 [256, 256, 3], of keypoints [15, 3] in [-1, 1], and of curves."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..coefficients import KEYPOINTS

Frame = npt.NDArray[np.uint8]
Values = npt.NDArray[np.floating[Any]]
NOSE, UPPER, LOWER, CHIN = (KEYPOINTS.index(name) for name in ("nose", "upper_lip", "lower_lip", "chin"))
LEFT, RIGHT = KEYPOINTS.index("left_corner"), KEYPOINTS.index("right_corner")
LEFT_CHEEK, RIGHT_CHEEK = KEYPOINTS.index("left_cheek"), KEYPOINTS.index("right_cheek")


class MotionMeter:
    """A meter of the motion of a face's parts since a reference frame, by dense optical flow (Kroeger et al. 2016).

    Measure frames in their order: the search starts from the motion of the frame before, without which it loses a chin
    that has moved far down.
    """

    def __init__(self, reference: Frame, keypoints: Values) -> None:
        self.reference = cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY)
        self.flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self.before: Values | None = None
        self.points = ((np.asarray(keypoints)[:, :2] + 1) / 2 * reference.shape[0]).astype(float)

    def motion(self, frame: Frame) -> Values:
        """Return the motion in pixels, x and y: [256, 256, 2]."""
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        self.before = self.flow.calc(self.reference, grey, None if self.before is None else self.before.copy())
        return self.before

    def opening(self, frame: Frame) -> float:
        """Return by how many pixels the lower lip and chin went down against the nose and upper lip."""
        motion, points = self.motion(frame), self.points
        left, right = points[[LEFT, RIGHT], 0]
        middle = (points[UPPER, 1] + points[LOWER, 1]) / 2
        below = _mean(motion[..., 1], left, right, middle + 4, points[CHIN, 1])
        above = _mean(motion[..., 1], left, right, points[NOSE, 1], middle - 4)
        return below - above

    def turn(self, frame: Frame) -> float:
        """Return by how many pixels the middle of the face went to the right."""
        points = self.points
        left, right = (points[LEFT_CHEEK, 0] + points[NOSE, 0]) / 2, (points[RIGHT_CHEEK, 0] + points[NOSE, 0]) / 2
        top = 2 * points[NOSE, 1] - points[UPPER, 1]
        return _mean(self.motion(frame)[..., 0], left, right, top, points[UPPER, 1])


def _mean(values: Values, left: float, right: float, top: float, bottom: float) -> float:
    """Return the mean over a box in pixels, made at least one pixel large and kept within the picture."""
    size = values.shape[0]
    x0, y0 = (int(np.clip(v, 0, size - 2)) for v in (left, top))
    x1, y1 = int(np.clip(right, x0 + 1, size)), int(np.clip(bottom, y0 + 1, size))
    return float(values[y0:y1, x0:x1].mean())


def correlation(a: Values, b: Values) -> float:
    """Return Pearson's correlation; 0 where one of the curves never changes."""
    if np.std(a) < 1e-9 or np.std(b) < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def best_lag(a: Values, b: Values, reach: int = 5) -> int:
    """Return by how many samples `a` comes after `b` where they correlate best, within `reach`."""
    lags = range(-reach, reach + 1)
    inner = slice(reach, len(a) - reach)
    return max(lags, key=lambda lag: correlation(np.roll(a, -lag)[inner], b[inner]))


def envelope(waveform: Values, frames: int) -> Values:
    """Return the loudness of every video frame of a 16 kHz waveform, smoothed over three: root mean square [frames]."""
    level = np.sqrt(np.square(waveform[: frames * 640].reshape(frames, 640)).mean(1))
    smoothed: Values = np.convolve(level, (0.25, 0.5, 0.25), "same")
    return smoothed


def psnr(frame: Frame, truth: Frame) -> float:
    """Return the peak signal-to-noise ratio in dB, of values from 0 to 255; at most 100."""
    error = np.square(frame.astype(np.float64) - truth.astype(np.float64)).mean()
    return float(10 * np.log10(255**2 / max(error, 255**2 * 1e-10)))

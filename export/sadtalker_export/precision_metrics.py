"""How far frames in a reduced precision are from the same frames in single precision, and whether they still move.

Frames are uint8 [T, H, W, 3] RGB. PSNR alone would pass lips that have stopped: they are a small part of the picture.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

MOUTH = np.s_[:, 156:216, 84:172]  # rows and columns of a 256 x 256 face crop


@dataclass(frozen=True)
class Limit:
    """One figure's name, unit, and the bound that it must keep."""

    name: str
    unit: str
    bound: float
    at_least: bool = False

    def keeps(self, value: float) -> bool:
        """Whether the value is within the bound; NaN never is."""
        return value >= self.bound if self.at_least else value <= self.bound


LIMITS = (
    Limit("PSNR", "dB", 38.0, at_least=True),
    Limit("mouth motion", "relative difference", 0.02),
    Limit("head motion", "relative difference", 0.02),
    Limit("mean colour", "grey levels", 1.0),
)


def compare(speaking: tuple[Frames, Frames], turning: tuple[Frames, Frames]) -> dict[str, float]:
    """A value for each of `LIMITS`, from two clips, one in which the mouth moves and one in which the head does.

    Each clip comes as (exact, reduced), two or more frames of 256 x 256 pixels.
    """
    exact, reduced = (np.concatenate(frames) for frames in zip(speaking, turning, strict=True))
    values = (psnr(exact, reduced), mouth_motion(*speaking), head_motion(*turning), mean_colour(exact, reduced))
    return {limit.name: value for limit, value in zip(LIMITS, values, strict=True)}


def psnr(exact: Frames, reduced: Frames) -> float:
    """Peak signal-to-noise ratio over all frames in dB; infinite for equal ones."""
    error = float(((exact.astype(np.float64) - reduced) ** 2).mean())
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def mean_colour(exact: Frames, reduced: Frames) -> float:
    """Largest difference between the mean colours of a frame, over frames and channels, in grey levels."""
    return float(np.abs(exact.mean((1, 2)) - reduced.mean((1, 2))).max())


def mouth_motion(exact: Frames, reduced: Frames) -> float:
    """Relative difference of the change from frame to frame inside the `MOUTH`: 0 the same, 1 no motion at all."""
    return _lost(*(np.diff(frames[MOUTH].astype(np.float64), axis=0) for frames in (exact, reduced)))


def head_motion(exact: Frames, reduced: Frames) -> float:
    """Relative difference of the head's displacement from frame to frame: 0 the same, 1 no motion at all."""
    return _lost(displacements(exact), displacements(reduced))


def displacements(frames: Frames) -> Floats:
    """(x, y) in pixels by which each frame is displaced from the one before, by phase correlation: [T - 1, 2]."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    # at half the size: all frequencies count alike, and the highest hold noise rather than the head
    grey = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in grey]
    window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
    return np.array([cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(grey)], np.float64) * 2


def _lost(exact: Floats, reduced: Floats) -> float:
    """|1 - g|, where g * `exact` is what of the motion `exact` is in `reduced`; NaN if there is no motion to compare.

    A projection rather than a ratio of energies: rounding noise that flickers is no motion, PSNR judges it.
    """
    energy = float((exact**2).sum())
    return abs(1 - float((exact * reduced).sum()) / energy) if energy else float("nan")

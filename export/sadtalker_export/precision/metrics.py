"""Distances of frames in a reduced precision from the same frames in single precision, in colour and in motion.

Frames are uint8 [T, H, W, 3] RGB. PSNR alone would pass lips that have stopped moving, which are a small part of the
picture. Restored faces do not move by themselves; there colours and edges must be present and the same.
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
        """Return whether the value is within the bound; NaN never is."""
        return value >= self.bound if self.at_least else value <= self.bound


LIMITS = (
    Limit("PSNR", "dB", 38.0, at_least=True),
    Limit("mouth motion", "relative difference", 0.02),
    Limit("head motion", "relative difference", 0.02),
    Limit("mean colour", "grey levels", 1.0),
)
FACE_LIMITS = (
    LIMITS[0],
    LIMITS[-1],
    Limit("structure", "correlation of edges", 0.95, at_least=True),
    Limit("contrast", "relative difference", 0.02),
    Limit("least contrast", "grey levels", 3.0, at_least=True),  # 0 for a face of a single colour, black included
)


def compare(speaking: tuple[Frames, Frames], turning: tuple[Frames, Frames]) -> dict[str, float]:
    """Return a value for each of `LIMITS`, from a clip in which the mouth moves and one in which the head does.

    Each clip comes as (exact, reduced), two or more frames of 256 x 256 pixels.
    """
    exact, reduced = (np.concatenate(frames) for frames in zip(speaking, turning, strict=True))
    values = (psnr(exact, reduced), mouth_motion(*speaking), head_motion(*turning), mean_colour(exact, reduced))
    return {limit.name: value for limit, value in zip(LIMITS, values, strict=True)}


def compare_faces(exact: Frames, reduced: Frames, part: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return a value for each of `FACE_LIMITS`, that of the worst frame; only pixels in the `part` [H, W] count."""
    each = [
        _compare_face(a[part], b[part], _edges(a)[part], _edges(b)[part]) for a, b in zip(exact, reduced, strict=True)
    ]
    return {
        limit.name: float((np.min if limit.at_least else np.max)(values))
        for limit, values in zip(FACE_LIMITS, zip(*each, strict=True), strict=True)
    }


def _compare_face(exact: Frames, reduced: Frames, exact_edges: Floats, reduced_edges: Floats) -> tuple[float, ...]:
    """Return the values of one frame, from its pixels [P, 3] and their edges [P, 6]."""
    energies = (exact_edges**2).sum(), (reduced_edges**2).sum()
    structure = (exact_edges * reduced_edges).sum() / np.sqrt(energies[0] * energies[1]) if all(energies) else 0.0
    contrasts = exact.std(0).mean(), reduced.std(0).mean()
    ratio = contrasts[1] / contrasts[0] if contrasts[0] else float("nan")
    colour = np.abs(exact.mean(0) - reduced.mean(0)).max()
    return psnr(exact, reduced), float(colour), float(structure), abs(1 - float(ratio)), float(min(contrasts))


def _edges(frame: Frames) -> Floats:
    """Return the differences of each pixel [H, W, 3] to those beside and below it: [H, W, 6]."""
    values = frame.astype(np.float64)
    across = np.diff(values, axis=1, append=values[:, -1:])
    down = np.diff(values, axis=0, append=values[-1:])
    return np.concatenate([across, down], 2)


def psnr(exact: Frames, reduced: Frames) -> float:
    """Return the peak signal-to-noise ratio over all frames in dB; infinite for equal ones."""
    error = float(((exact.astype(np.float64) - reduced) ** 2).mean())
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def mean_colour(exact: Frames, reduced: Frames) -> float:
    """Return the largest difference between the mean colours of a frame, over frames and channels, in grey levels."""
    return float(np.abs(exact.mean((1, 2)) - reduced.mean((1, 2))).max())


def mouth_motion(exact: Frames, reduced: Frames) -> float:
    """Return the relative difference of the frame-to-frame change in the `MOUTH`: 0 the same, 1 no motion at all."""
    return _lost(*(np.diff(frames[MOUTH].astype(np.float64), axis=0) for frames in (exact, reduced)))


def head_motion(exact: Frames, reduced: Frames) -> float:
    """Return the relative difference of the head's frame-to-frame displacement: 0 the same, 1 no motion at all."""
    return _lost(displacements(exact), displacements(reduced))


def displacements(frames: Frames) -> Floats:
    """Return each frame's displacement (x, y) from the one before in pixels, by phase correlation: [T - 1, 2]."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    # at half the size: all frequencies have equal weight, and the highest are noise
    grey = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in grey]
    window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
    return np.array([cv2.phaseCorrelate(a, b, window)[0] for a, b in pairwise(grey)], np.float64) * 2


def _lost(exact: Floats, reduced: Floats) -> float:
    """Return |1 - g|, where g is the projection of `reduced` onto `exact`; NaN if there is no motion to compare.

    This is a projection rather than a ratio of energies: flickering rounding noise is not motion, and PSNR judges it.
    """
    energy = float((exact**2).sum())
    return abs(1 - float((exact * reduced).sum()) / energy) if energy else float("nan")

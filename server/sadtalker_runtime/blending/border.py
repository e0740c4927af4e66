"""Preparation of a frame's border for blending, so that motion across the border does not colour the face.

Poisson blending spreads all differences at the border inwards. That removes a colour cast; but where a chin or a tie
moved across the border, its colour bleeds over neck and face, and flickers with the speech. So the median difference
along the border is first subtracted from the frame, which then fades into the picture beneath near its border. Small
differences do not fade: blending spreads them thinly, and contours that moved a little would appear twice.
"""

from typing import NamedTuple

import cv2
import numpy as np

from sadtalker_runtime.arrays import Bytes, Doubles

OUTER = 4  # lines at each edge that blending does not take from the frame
WIDTH = 0.1  # of the fading border at each edge, of the side
TOLERANCE = 4  # grey levels: differences that stay
EVERY = 4  # only every fourth pixel along the border is compared


class Strip(NamedTuple):
    """A part of the border."""

    rows: slice
    columns: slice
    least: Bytes  # [rows, columns, 3]: what frames may show without fading
    most: Bytes
    fading: Bytes  # [rows, columns, 3]: how much goes of what exceeds the tolerance, of 255


class CalmBorder:
    """The border of one rectangle of a picture, ready for any number of frames.

    `beneath` is what the picture shows in the rectangle, uint8 [height, width, 3].
    """

    def __init__(self, beneath: Bytes) -> None:
        self._beneath_lines = _lines(beneath)
        down, across = (_staying(side) for side in beneath.shape[:2])
        fading = np.rint(255 * (1 - np.outer(down, across))).astype(np.uint8)
        rows, columns = _unfaded(down), _unfaded(across)
        places = [(part, slice(None)) for part in (slice(rows.start), slice(rows.stop, None))]
        places += [(rows, part) for part in (slice(columns.start), slice(columns.stop, None))]
        tolerance = (TOLERANCE,) * 4
        least, most = cv2.subtract(beneath, tolerance), cv2.add(beneath, tolerance)
        self._strips = [
            Strip(*place, least[place].copy(), most[place].copy(), cv2.merge([fading[place]] * 3)) for place in places
        ]

    def calm(self, frames: Bytes) -> None:
        """Make frames uint8 [F, height, width, 3] agree with the picture at their border, in place."""
        differences = np.subtract(_lines(frames), self._beneath_lines, dtype=np.int16)
        casts = np.rint(np.median(differences, -1)).astype(int)
        for frame, cast in zip(frames, casts, strict=True):
            for change, levels in ((cv2.subtract, cast), (cv2.add, -cast)):  # OpenCV is slow with negative levels
                if levels.max() > 0:
                    change(frame, (*levels.clip(0).tolist(), 0), frame)
        for rows, columns, least, most, fading in self._strips:
            above, below = np.empty_like(most), np.empty_like(least)
            for frame in frames[:, rows, columns]:
                cv2.subtract(frame, most, above)
                cv2.subtract(least, frame, below)
                cv2.multiply(above, fading, above, 1 / 255)
                cv2.multiply(below, fading, below, 1 / 255)
                cv2.subtract(frame, above, frame)
                cv2.add(frame, below, frame)


def _lines(pictures: Bytes) -> Bytes:
    """Return the pixels along the outermost lines that blending pastes: [..., height, width, 3] -> [..., 3, pixels]."""
    ends = [OUTER, ~OUTER]
    across, down = pictures[..., ends, ::EVERY, :], pictures[..., ::EVERY, ends, :]
    lines = [part.reshape(*part.shape[:-3], -1, 3) for part in (across, down)]
    return np.ascontiguousarray(np.concatenate(lines, -2).swapaxes(-1, -2))


def _staying(side: int) -> Doubles:
    """Return how much of a large difference stays along a side: 0 at the edges, 1 inside of the border."""
    lines = np.arange(side)
    depth = np.clip((np.minimum(lines, lines[::-1]) - OUTER) / (WIDTH * side), 0, 1)
    smooth: Doubles = depth**2 * (3 - 2 * depth)
    return smooth


def _unfaded(staying: Doubles) -> slice:
    """Return the lines between the borders, which small rectangles may lack."""
    start = max(1, int(staying.argmax()))
    return slice(start, len(staying) - start)

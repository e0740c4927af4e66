"""The crop of a face from a portrait.

The square is the one of FFHQ's alignment (Karras et al., "A Style-Based Generator Architecture for GANs",
appendix C), turned with the head; like SadTalker, the picture itself is not turned: the upright box around that
square is cut out. All arithmetic is in pixels, y down.
"""

import math
from dataclasses import dataclass

import numpy as np

from sadtalker_runtime.arrays import Array

OUTPUT_SIZE = 512  # side that decides when a large picture is shrunk first


@dataclass(frozen=True)
class Crop:
    """A two-step cut, as SadTalker records it: `rectangle` of the resized picture, then `quad` inside it."""

    resized: tuple[int, int]
    """Width and height the picture is resized to first."""
    rectangle: tuple[int, int, int, int]
    """Left, top, right, bottom in the resized picture: the face's square and a border around it."""
    quad: tuple[float, float, float, float]
    """Left, top, right, bottom in `rectangle`: the box around the face's square."""

    @property
    def face(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the final cut in the resized picture, never outside of `rectangle`."""
        left, top, right, bottom = self.rectangle
        x0, y0, x1, y1 = (int(edge) for edge in self.quad)
        return left + x0, top + y0, min(left + x1, right), min(top + y1, bottom)


def eyes_and_mouth(points68: Array) -> Array:
    """Return the left eye's and right eye's centre, left and right mouth corner [4, 2] of 68 iBUG landmarks [68, 2]."""
    points = np.asarray(points68, np.float64)
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[48], points[54]])


def crop_geometry(points: Array, width: int, height: int, output_size: int = OUTPUT_SIZE) -> Crop:
    """Return the cut for a face in a picture.

    Args:
        points: left and right eye, left and right mouth corner [4, 2], pixels.
        width: of the picture, pixels.
        height: of the picture, pixels.
        output_size: a face's square more than four times as large is shrunk by a whole factor first.
    """
    left_eye, right_eye, left_mouth, right_mouth = np.asarray(points, np.float64)
    eyes = (left_eye + right_eye) / 2
    across = right_eye - left_eye
    down = (left_mouth + right_mouth) / 2 - eyes

    direction = across + np.array([down[1], -down[0]])  # both give the head's direction
    half = max(2.0 * math.hypot(*across), 1.8 * math.hypot(*down))
    x = direction / math.hypot(*direction) * half
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    corners = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    side = 2.0 * half

    shrink = math.floor(side / output_size / 2)
    if shrink > 1:
        width, height = round(width / shrink), round(height / shrink)
        corners, side = corners / shrink, side / shrink

    border = max(round(side * 0.1), 3)
    rectangle = (
        max(math.floor(corners[:, 0].min()) - border, 0),
        max(math.floor(corners[:, 1].min()) - border, 0),
        min(math.ceil(corners[:, 0].max()) + border, width),
        min(math.ceil(corners[:, 1].max()) + border, height),
    )
    inside = corners - rectangle[:2] + 0.5
    quad = (
        max(inside[[0, 1], 0].min(), 0.0),
        max(inside[[0, 3], 1].min(), 0.0),
        min(inside[[2, 3], 0].max(), float(width)),
        min(inside[[1, 2], 1].max(), float(height)),
    )
    left, top, right, bottom = map(float, quad)
    return Crop((width, height), rectangle, (left, top, right, bottom))

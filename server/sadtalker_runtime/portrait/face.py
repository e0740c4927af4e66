"""A face in a picture: its place, and the choice among several."""

from collections.abc import Sequence
from dataclasses import dataclass

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError

MAIN = -1


@dataclass(frozen=True)
class Face:
    """The place of a face, in pixels of its picture, y down."""

    box: Array
    """float64 [4]: left, top, right, bottom."""
    landmarks: Array
    """float64 [5, 2]: left and right eye as seen in the picture, nose tip, left and right mouth corner."""
    prominence: float
    """Rank among the faces of a picture: the main one has the largest."""
    points68: Array | None = None
    """float64 [68, 2]: the iBUG landmarks, where they are known."""


def choose(faces: Sequence[Face], index: int, width: int, height: int) -> Face:
    """Return the face that is meant by `index`: counted from left to right from 0 on, or `MAIN`.

    Raises:
        InputError: there is none, or not so many, in the picture of `width` x `height` pixels.
    """
    if not faces:
        raise InputError(f"image: expected a frontal face, got a picture of {width} x {height} pixels without one")
    if index == MAIN:
        return max(faces, key=lambda face: face.prominence)
    if not 0 <= index < len(faces):
        found = "1 face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise InputError(f"face_index: expected 0 to {len(faces) - 1}, as {found} found, got {index}")
    return sorted(faces, key=lambda face: face.box[0] + face.box[2])[index]

"""A picture in which a face moves: frames are blended into their rectangle of it, the rest is unchanged.

Where a frame differs much from the picture at the rectangle's border, the picture is kept.
"""

from collections.abc import Iterator

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.blending.border import CalmBorder
from sadtalker_runtime.blending.poisson import SeamlessRectangle
from sadtalker_runtime.blending.poisson_tables import SMALLEST


class Scene:
    """One picture and the rectangle of it that frames show, ready for any number of frames.

    Args:
        picture: uint8 [height, width, 3], RGB.
        rectangle: left, top, right, bottom in it, pixels.
    """

    def __init__(self, picture: Array, rectangle: tuple[int, int, int, int]) -> None:
        self._picture = picture
        self.rectangle = left, top, right, bottom = rectangle
        """Left, top, right and bottom of what moves, pixels."""
        self._inside = slice(top, bottom), slice(left, right)
        self._size = right - left, bottom - top
        self._border = CalmBorder(picture[self._inside])
        self._seamless = None
        if min(self._size) >= SMALLEST:
            self._seamless = SeamlessRectangle(picture, top, left, bottom - top, right - left)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, pixels."""
        height, width = self._picture.shape[:2]
        return width, height

    def canvas(self) -> Array:
        """Return a copy of the picture, in which one video is shown."""
        return self._picture.copy()

    def with_frames(self, frames: Array, canvas: Array) -> Iterator[Array]:
        """Return the picture with each of some frames uint8 [n, side, side, 3] in it: uint8 [height, width, 3], RGB.

        All of them are drawn on one canvas in turn, so copy a picture to keep it.
        """
        shrinks = self._size[0] * self._size[1] < frames.shape[1] * frames.shape[2]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        fitted = np.stack([cv2.resize(frame, self._size, interpolation=how) for frame in frames])
        self._border.calm(fitted)
        if self._seamless is not None:
            self._seamless.blend(fitted)
        else:
            fitted = np.stack([self._cloned(frame) for frame in fitted])
        for frame in fitted:
            canvas[self._inside] = frame
            yield canvas

    def _cloned(self, frame: Array) -> Array:
        """Blend with OpenCV, for rectangles that are too small for ours, within the rectangle."""
        beneath = np.ascontiguousarray(self._picture[self._inside])
        centre = self._size[0] // 2, self._size[1] // 2
        cloned: Array = cv2.seamlessClone(frame, beneath, np.full_like(frame, 255), centre, cv2.NORMAL_CLONE)
        return cloned

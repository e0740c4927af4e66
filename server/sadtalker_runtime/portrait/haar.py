"""Finds faces without learned weights: OpenCV's frontal Haar cascade, five landmarks by a mean face."""

from pathlib import Path

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.portrait.face import Face

SEARCH_SIDE = 640  # longer side of the picture that is searched, pixels
MIN_FACE = 32  # smallest face that is looked for in it, pixels
NEIGHBOURS = 5  # overlapping detections that make a face
BORDER = 8  # pixels around it, in a second search of a picture with several faces
LARGE_SIDE, LARGE_BORDER, LARGE_FACE = 128, 26, 48  # a second search of a picture without one, for a face that fills it
MIN_CONFIDENCE = 2.0  # of the last cascade stage; real faces score 4 and more, false positives 0 to 1.5

# Eyes, nose tip and mouth corners inside the cascade's box, as fractions of its sides: means over frontal portraits.
MEAN_FACE = np.array([(0.305, 0.385), (0.695, 0.385), (0.5, 0.6), (0.36, 0.77), (0.64, 0.77)])


class HaarFinder:
    """Haar cascade of the cv2 wheel. Not thread-safe."""

    def __init__(self) -> None:
        cascades = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(cascades / "haarcascade_frontalface_default.xml"))

    def faces(self, picture: Array) -> list[Face]:
        """Return the frontal faces in a picture uint8 [height, width, 3], RGB.

        The main one is the most confident: the largest box is often a false positive. At the picture's edges the
        cascade misses faces, because half of the boxes around them would reach beyond. So where it finds none or
        several, it searches once more with a border around the picture.
        """
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        grey, scale = _shrunk(grey, SEARCH_SIDE)
        found = self._search(grey, scale, 0, MIN_FACE)
        if len(found) > 1:
            at_edges = self._search(grey, scale, BORDER, MIN_FACE)
            return found + [face for face in at_edges if not any(_is_same(face, other) for other in found)]
        if not found:
            small, shrink = _shrunk(grey, LARGE_SIDE)
            found = self._search(small, scale * shrink, LARGE_BORDER, LARGE_FACE)
        return found

    def _search(self, grey: Array, scale: float, border: int, smallest: int) -> list[Face]:
        """Return the faces of at least `smallest` pixels in a grey picture, `scale` of the size of the original."""
        boxes, _, confidences = self._cascade.detectMultiScale3(
            cv2.copyMakeBorder(cv2.equalizeHist(grey), border, border, border, border, cv2.BORDER_REPLICATE),
            scaleFactor=1.1,
            minNeighbors=NEIGHBOURS,
            minSize=(smallest, smallest),
            outputRejectLevels=True,
        )
        found = []
        for box, confidence in zip(boxes, np.ravel(confidences), strict=True):
            if confidence >= MIN_CONFIDENCE:
                left, top, *size = (box - (border, border, 0, 0)) / scale
                corner = np.array([left, top])
                found.append(
                    Face(np.concatenate([corner, corner + size]), corner + MEAN_FACE * size, float(confidence))
                )
        return found


def _shrunk(grey: Array, longest: int) -> tuple[Array, float]:
    """Return the picture with a longer side of `longest` pixels at most, and its scale."""
    scale = min(1.0, longest / max(grey.shape))
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _is_same(face: Face, other: Face) -> bool:
    """Return whether the centre of one box lies in the other."""
    centre = (face.box[:2] + face.box[2:]) / 2
    return bool((other.box[:2] <= centre).all() and (centre <= other.box[2:]).all())

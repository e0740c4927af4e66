"""Finds faces without learned weights: OpenCV's frontal Haar cascade, five landmarks by a mean face."""

from pathlib import Path

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.portrait.face import Face

SEARCH_SIDE = 640  # longer side of the picture that is searched, pixels
MIN_FACE = 32  # smallest face that is looked for in it, pixels
MIN_CONFIDENCE = 2.0  # of the last cascade stage; real faces score 4 and more, chance finds 0 to 1.5

# Eyes, nose tip and mouth corners inside the cascade's box, as fractions of its sides: means over frontal portraits.
MEAN_FACE = np.array([(0.305, 0.385), (0.695, 0.385), (0.5, 0.6), (0.36, 0.77), (0.64, 0.77)])


class HaarFinder:
    """Haar cascade of the cv2 wheel. Not thread-safe."""

    def __init__(self) -> None:
        cascades = Path(cv2.__file__).parent / "data"
        self._cascade = cv2.CascadeClassifier(str(cascades / "haarcascade_frontalface_default.xml"))

    def faces(self, picture: Array) -> list[Face]:
        """Return the frontal faces in a picture uint8 [height, width, 3], RGB.

        The main one is the most confident: the largest box is often a chance find.
        """
        height, width = picture.shape[:2]
        scale = min(1.0, SEARCH_SIDE / max(height, width))
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes, _, confidences = self._cascade.detectMultiScale3(
            cv2.equalizeHist(grey),
            scaleFactor=1.1,
            minNeighbors=5,
            minSize=(MIN_FACE, MIN_FACE),
            outputRejectLevels=True,
        )
        found = []
        for box, confidence in zip(boxes, np.ravel(confidences), strict=True):
            if confidence >= MIN_CONFIDENCE:
                left, top, *size = box / scale
                corner = np.array([left, top])
                found.append(
                    Face(np.concatenate([corner, corner + size]), corner + MEAN_FACE * size, float(confidence))
                )
        return found

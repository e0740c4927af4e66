"""Finds a face without learned weights: OpenCV's frontal Haar cascade, five landmarks by a mean face."""

from pathlib import Path

import cv2
import numpy as np

from .errors import InputError

SEARCH_SIDE = 640  # longer side of the picture that is searched, pixels
MIN_FACE = 32  # smallest face that is looked for in it, pixels
MIN_CONFIDENCE = 2.0  # of the last cascade stage; real faces score 4 and more, chance finds 0 to 1.5

# Eyes, nose tip and mouth corners inside the cascade's box, as fractions of its sides: means over frontal portraits.
MEAN_FACE = np.array([(0.305, 0.385), (0.695, 0.385), (0.5, 0.6), (0.36, 0.77), (0.64, 0.77)])


class FaceDetector:
    """Haar cascade of the cv2 wheel. Not thread-safe."""

    def __init__(self) -> None:
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"))

    def landmarks(self, picture: np.ndarray) -> np.ndarray:
        """Left eye, right eye, nose tip, left and right mouth corner: float64 [5, 2], pixels, y down.

        Args:
            picture: uint8 [height, width, 3], RGB. Of several faces the most confident is taken: the largest
                box is often a chance find.

        Raises:
            InputError: there is no frontal face.
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
        confidences = np.ravel(confidences)
        if len(boxes) == 0 or confidences.max() < MIN_CONFIDENCE:
            raise InputError(f"image: expected a frontal face, got a picture of {width} x {height} pixels without one")
        left, top, *size = boxes[int(confidences.argmax())] / scale
        return np.array([left, top]) + MEAN_FACE * size

"""Finds the face that is meant, with what the server has: learned detectors where installed, else the Haar cascade."""

from collections.abc import Callable

import numpy as np

from .face import Face, choose
from .haar import HaarFinder
from .retinaface import ALIGNMENT, DETECTOR, Call, RetinaFinder, aligned


class FaceFinder:
    """Not thread-safe.

    Args:
        call: runs a model of the server.
        installed: whether the server has a model.
    """

    def __init__(self, call: Call, installed: Callable[[str], bool]) -> None:
        self._call, self._installed = call, installed
        self._haar, self._retina = HaarFinder(), RetinaFinder(call)

    def find(self, picture: np.ndarray, index: int) -> Face:
        """The face that `index` means, see `choose`, in a picture uint8 [height, width, 3], RGB."""
        learned = self._installed(DETECTOR)
        finder = self._retina if learned else self._haar
        height, width = picture.shape[:2]
        face = choose(finder.faces(picture), index, width, height)
        return aligned(self._call, picture, face) if learned and self._installed(ALIGNMENT) else face

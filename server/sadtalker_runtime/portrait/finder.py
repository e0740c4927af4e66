"""The finder of the wanted face: learned detectors where the server has them, else OpenCV's Haar cascade."""

from collections.abc import Callable

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.portrait.face import Face, choose
from sadtalker_runtime.portrait.haar import HaarFinder
from sadtalker_runtime.portrait.retinaface import ALIGNMENT, DETECTOR, Call, RetinaFinder, aligned


class FaceFinder:
    """A finder of the wanted face in a picture. Not thread-safe.

    Args:
        call: runs a model of the server.
        installed: whether the server has a model.
    """

    def __init__(self, call: Call, installed: Callable[[str], bool]) -> None:
        self._call, self._installed = call, installed
        self._haar, self._retina = HaarFinder(), RetinaFinder(call)

    def find(self, picture: Array, index: int) -> Face:
        """Return the face that `index` means, see `choose`, in a picture uint8 [height, width, 3], RGB."""
        learned = self._installed(DETECTOR)
        finder = self._retina if learned else self._haar
        height, width = picture.shape[:2]
        face = choose(finder.faces(picture), index, width, height)
        return aligned(self._call, picture, face) if learned and self._installed(ALIGNMENT) else face


def cascade_finder() -> FaceFinder:
    """Return a finder that works without a server, by the Haar cascade alone."""

    def call(model: str, *_: object) -> list[Array]:
        raise AssertionError(f"{model} was called, but is not installed")

    return FaceFinder(call, lambda model: False)

"""From an encoded picture to what the portrait networks want."""

from dataclasses import dataclass

import cv2
import numpy as np

from .alignment import align
from .crop import crop_geometry
from .face import FaceDetector
from .picture import decode

FACE_SIZE = 256  # pixels, what the renderer sees


@dataclass(frozen=True)
class Portrait:
    """The model's outputs for one portrait, named as its tensors."""

    face: np.ndarray
    """float32 [3, 256, 256], RGB in [0, 1]."""
    aligned_face: np.ndarray
    """float32 [3, 224, 224], RGB in [0, 1]."""
    geometry: np.ndarray
    """int32 [6]: left, top, right, bottom of the face in the resized picture; that picture's width and height."""
    alignment: np.ndarray
    """float32 [5]: width, height, scale, x and y of the 3-D alignment on the 256-pixel face."""
    landmarks: np.ndarray
    """float32 [5, 2]: left and right eye, nose tip, left and right mouth corner on the 256-pixel face, pixels."""


def prepare(data: bytes, detector: FaceDetector) -> Portrait:
    """Decodes `data`, finds the face, cuts it out and aligns it.

    Raises:
        InputError: `data` is not a usable picture of a face.
    """
    picture = decode(data)
    landmarks = detector.landmarks(picture)
    height, width = picture.shape[:2]
    crop = crop_geometry(landmarks[[0, 1, 3, 4]], width, height)
    left, top, right, bottom = crop.face
    shrink = np.array(crop.resized) / (width, height)
    face = _resize(_resize(picture, crop.resized)[top:bottom, left:right], (FACE_SIZE, FACE_SIZE))
    on_face = (landmarks * shrink - (left, top)) * FACE_SIZE / (right - left, bottom - top)
    alignment, aligned_face = align(face, on_face)
    return Portrait(
        face=_to_network(face),
        aligned_face=_to_network(aligned_face),
        geometry=np.array([*crop.face, *crop.resized], np.int32),
        alignment=alignment,
        landmarks=on_face.astype(np.float32),
    )


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinking = size[0] < picture.shape[1]  # area averaging keeps hair and teeth from aliasing
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)


def _to_network(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(255)

"""From a picture to the inputs of the portrait networks."""

from dataclasses import dataclass

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError, excerpt
from sadtalker_runtime.portrait.alignment import align
from sadtalker_runtime.portrait.crop import OUTPUT_SIZE, crop_geometry, eyes_and_mouth
from sadtalker_runtime.portrait.face import MAIN
from sadtalker_runtime.portrait.finder import FaceFinder
from sadtalker_runtime.portrait.picture import decode

CROPS = "crop", "extcrop", "resize", "full", "extfull"
LONGEST_SIDE = 1920  # of a picture that is shown whole, pixels
FACE_SIZE = 256  # pixels, what the renderer sees unless told otherwise


@dataclass(frozen=True)
class PreparedPortrait:
    """The model's outputs for one portrait, named as its tensors."""

    face: Array
    """float32 [3, face size, face size], RGB in [0, 1]."""
    aligned_face: Array
    """float32 [3, 224, 224], RGB in [0, 1]."""
    geometry: Array
    """int32 [6]: left, top, right, bottom of the face in the resized picture; that picture's width and height."""
    alignment: Array
    """float32 [5]: width, height, scale, x and y of the 3-D alignment on the face."""
    landmarks: Array
    """float32 [5, 2]: left and right eye, nose tip, left and right mouth corner on the face, pixels."""
    picture: Array
    """uint8 [height, width, 3], RGB: the resized picture of `geometry`."""


def prepare(
    data: bytes, finder: FaceFinder, crop: str = "crop", face_index: int = MAIN, face_size: int = FACE_SIZE
) -> PreparedPortrait:
    """Decode `data` in this process and prepare it, see `picture.decode` and `prepare_picture`."""
    return prepare_picture(decode(data), finder, crop, face_index, face_size)


def check_crop(crop: str) -> None:
    """Raise InputError where `crop` is none of CROPS."""
    if crop not in CROPS:
        raise InputError(f"crop: expected {', '.join(CROPS)}, got {excerpt(crop)!r}")


def prepare_picture(
    picture: Array, finder: FaceFinder, crop: str = "crop", face_index: int = MAIN, face_size: int = FACE_SIZE
) -> PreparedPortrait:
    """Find the face in a picture, cut it out and align it.

    Args:
        picture: uint8 [height, width, 3], RGB.
        crop: what is cut out: the face (crop, full), more around it (extcrop, extfull), or everything (resize). For
            full and extfull the picture is first brought to what a video can show: even sides of at most
            `LONGEST_SIDE`.
        face_index: see `choose`.

    Raises:
        InputError: the picture shows no usable face, or an argument is out of range.
    """
    check_crop(crop)
    full, extended = "full" in crop, "ext" in crop
    if full:
        picture = _showable(picture)
    height, width = picture.shape[:2]
    found = finder.find(picture, face_index)
    points = found.landmarks[[0, 1, 3, 4]] if found.points68 is None else eyes_and_mouth(found.points68)
    cut = crop_geometry(points, width, height, LONGEST_SIDE if full else OUTPUT_SIZE)
    resized, box = cut.resized, cut.rectangle if extended else cut.face
    if crop == "resize":
        resized, box = (width, height), (0, 0, width, height)
    left, top, right, bottom = box
    shrink = np.array(resized) / (width, height)
    picture = _resize(picture, resized)
    face = _resize(picture[top:bottom, left:right], (face_size, face_size))
    on_face = (found.landmarks * shrink - (left, top)) * face_size / (right - left, bottom - top)
    alignment, aligned_face = align(face, on_face)
    return PreparedPortrait(
        face=_to_network(face),
        aligned_face=_to_network(aligned_face),
        geometry=np.array([*box, *resized], np.int32),
        alignment=alignment,
        landmarks=on_face.astype(np.float32),
        picture=picture,
    )


def _showable(picture: Array) -> Array:
    height, width = picture.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    picture = _resize(picture, (round(width * scale), round(height * scale)))
    return picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]


def _resize(picture: Array, size: tuple[int, int]) -> Array:
    if size == (picture.shape[1], picture.shape[0]):
        return picture
    shrinking = size[0] < picture.shape[1]  # area averaging keeps hair and teeth from aliasing
    resized: Array = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
    return resized


def _to_network(picture: Array) -> Array:
    return np.ascontiguousarray(picture.transpose(2, 0, 1), np.float32) / np.float32(255)

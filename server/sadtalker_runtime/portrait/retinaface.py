"""Finds faces with the server's learned detectors: RetinaFace, and 68 landmarks by the alignment network."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.portrait.alignment import five_landmarks
from sadtalker_runtime.portrait.detections import distinct
from sadtalker_runtime.portrait.face import Face

DETECTOR, ALIGNMENT = "face_detector", "face_alignment"
SEARCH_SIDE = 640  # side of the square that a picture is fitted into, pixels
PADDING = (123, 117, 104)  # the training pictures' mean, RGB
FACE_SIZE = 256  # what the alignment network sees, pixels

Call = Callable[..., list[Array]]
"""A function that runs a model of the server: `call(model, inputs by name, *output names)` returns those outputs."""


class RetinaFinder:
    """RetinaFace, run by the server."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def faces(self, picture: Array) -> list[Face]:
        """Return the faces in a picture uint8 [height, width, 3], RGB; the main one is the largest."""
        height, width = picture.shape[:2]
        scale = SEARCH_SIDE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        square = np.full((SEARCH_SIDE, SEARCH_SIDE, 3), PADDING, np.uint8)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        square[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=how)
        boxes, scores, landmarks = self._call(
            DETECTOR, {"picture": _to_network(square)}, "boxes", "scores", "landmarks"
        )
        stretch = np.array([width, height]) / size
        found = []
        for i in distinct(boxes[0], scores[0]):
            box = boxes[0, i].astype(np.float64) * np.tile(stretch, 2)
            found.append(Face(box, landmarks[0, i] * stretch, float((box[2] - box[0]) * (box[3] - box[1]))))
        return found


def aligned(call: Call, picture: Array, face: Face) -> Face:
    """Return the face with its 68 landmarks, and with the five of `landmarks` from them."""
    height, width = picture.shape[:2]
    left, top = (int(max(edge, 0)) for edge in face.box[:2])
    right, bottom = int(min(face.box[2], width)), int(min(face.box[3], height))
    cut = cv2.resize(picture[top:bottom, left:right], (FACE_SIZE, FACE_SIZE), interpolation=cv2.INTER_LINEAR)
    [points] = call(ALIGNMENT, {"face": _to_network(cut) / np.float32(255)}, "landmarks")
    points68 = points[0] * np.array([right - left, bottom - top]) / FACE_SIZE + (left, top)
    return replace(face, landmarks=five_landmarks(points68), points68=points68)


def _to_network(picture: Array) -> Array:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)

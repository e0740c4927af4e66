"""Follows a face through a video by optical flow, without landmarks: any system's frontal face can be measured.

The first frame's face is found by the frontal Haar cascade and scaled to a fixed width. The dense flow (Kroeger et al.
2016, "Fast Optical Flow using Dense Inverse Search") from there to every frame is split into the motion of the head, a
similarity fitted to the stiff upper face, and what is left: lips, chin and lids.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.portrait.finder import cascade_finder

from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.measures.video import Curve, Frame

WIDTH = 128  # pixels of the face's box
MARGIN = 0.35  # of the box, around it
# Boxes of a frontal face inside the cascade's, as fractions of its sides: left, top, right, bottom.
STIFF = (0.28, 0.28, 0.72, 0.62)  # brow to nose tip, inside of the cheeks
UPPER_LIP = (0.38, 0.64, 0.62, 0.72)
LOWER_LIP = (0.40, 0.81, 0.60, 0.95)  # and chin
EYES = ((0.22, 0.33, 0.41, 0.44), (0.59, 0.33, 0.78, 0.44))
FACE = (0.15, 0.15, 0.85, 0.98)
OUTLIER = 3.0  # pixels from the fitted similarity

Matrix = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FaceTrack:
    """A face in every frame of a video; lengths are fractions of the face's width."""

    reference: Frame
    """The first frame's face and its surroundings, uint8 [height, width, 3], its box `WIDTH` pixels wide."""
    stabilised: list[Frame]
    """The same part of every frame, with the head's motion taken out."""
    opening: Curve
    """How far the lower lip and chin went down against the upper lip, [frames]."""
    position: Curve
    """Motion of the head since the first frame, x and y, [frames, 2]."""

    def part(self, frame: Frame, box: Box) -> Frame:
        """Cut a part of the face, given in fractions of its box, out of a frame of `stabilised`."""
        rows, columns = region(box)
        return frame[rows, columns]


def region(box: Box) -> tuple[slice, slice]:
    """Return the rows and columns of a part of the face in a scaled picture."""
    left, top, right, bottom = (round((value + MARGIN) * WIDTH) for value in box)
    return slice(top, bottom), slice(left, right)


def scaled_face(picture: Frame) -> tuple[Frame, Matrix]:
    """Return a picture's face with its margin, its box scaled to `WIDTH` pixels, and the matrix [2, 3] that scales.

    Raises:
        ComparisonError: no frontal face.
    """
    try:
        box = cascade_finder().find(np.ascontiguousarray(picture), -1).box
    except InputError as error:
        raise ComparisonError(str(error)) from error
    scale = WIDTH / (box[2] - box[0])
    corner = box[:2] - MARGIN * (box[2:] - box[:2])
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    return _cut(picture, matrix), matrix


def track_face(frames: list[Frame]) -> FaceTrack:
    """Follow the face of a video's first frame, uint8 [height, width, 3] each.

    Raises:
        ComparisonError: no frontal face in the first frame.
    """
    reference, matrix = scaled_face(frames[0])
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY)
    before = None
    stabilised, opening, position = [], [], []
    for frame in frames:
        face = _cut(frame, matrix)
        before = flow.calc(grey, cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), None if before is None else before.copy())
        head = _similarity(before)
        rest = before - _displacement(head, before.shape)
        lower, upper = (float(rest[region(box)][..., 1].mean()) for box in (LOWER_LIP, UPPER_LIP))
        opening.append((lower - upper) / WIDTH)
        middle = np.array([(0.5 + MARGIN) * WIDTH, (0.45 + MARGIN) * WIDTH, 1.0])
        position.append((head @ middle - middle[:2]) / WIDTH)
        stabilised.append(cv2.warpAffine(face, head, face.shape[1::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    return FaceTrack(reference, stabilised, np.array(opening), np.array(position))


def _cut(picture: Frame, matrix: Matrix) -> Frame:
    side = round((1 + 2 * MARGIN) * WIDTH)
    shrinks = matrix[0, 0] < 1
    if shrinks:  # warpAffine does not average over the pixels it leaves out
        scale = matrix[0, 0]
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = matrix @ np.diag([1 / scale, 1 / scale, 1.0])
    found: Frame = cv2.warpAffine(
        picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return found


def _similarity(flow: npt.NDArray[np.float32]) -> Matrix:
    """Fit turn, scale and shift [2, 3] to the motion of the stiff part of the face."""
    rows, columns = region(STIFF)
    y, x = np.mgrid[rows, columns][:, ::3, ::3]
    points = np.stack([x.ravel(), y.ravel()], 1).astype(np.float32)
    moved = points + flow[y.ravel(), x.ravel()]
    cv2.setRNGSeed(0)  # of the sampling
    found, _ = cv2.estimateAffinePartial2D(points, moved, ransacReprojThreshold=OUTLIER)
    if found is None:
        return np.eye(2, 3)
    matrix: Matrix = found
    return matrix


def _displacement(matrix: Matrix, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    y, x = np.mgrid[: shape[0], : shape[1]]
    moved = np.stack([x, y, np.ones_like(x)], -1) @ matrix.T
    displacement: npt.NDArray[np.float64] = moved - np.stack([x, y], -1)
    return displacement

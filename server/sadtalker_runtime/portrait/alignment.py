"""Alignment of a face for 3-D reconstruction: weak perspective from five landmarks.

Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised Learning",
https://github.com/sicxu/Deep3DFaceRecon_pytorch.
"""

import numpy as np
from PIL import Image

from sadtalker_runtime.arrays import Array

ALIGNED_SIZE = 224  # pixels, what the reconstruction network sees
FACE_SCALE = 102.0  # pixels per unit of the 3-D landmarks in that picture

# Left eye, right eye, nose tip, left and right mouth corner of the mean 3-D face; x right, y up, z towards the viewer.
MEAN_LANDMARKS = np.array(
    [
        (-0.31148657, 0.29036078, 0.13377953),
        (0.30979887, 0.28972036, 0.13179526),
        (0.00325350, -0.04617932, 0.55244243),
        (-0.25216928, -0.38133916, 0.22405732),
        (0.24846620, -0.38128236, 0.22235769),
    ]
)


def five_landmarks(points68: Array) -> Array:
    """Return the left eye, right eye, nose tip, left and right mouth corner [5, 2] of 68 iBUG landmarks [68, 2]."""
    points = np.asarray(points68, np.float64)
    eyes = points[[36, 39]].mean(0), points[[42, 45]].mean(0)
    return np.stack([*eyes, points[30], points[48], points[54]])


def align(picture: Array, landmarks: Array) -> tuple[Array, Array]:
    """Scale and shift a face so that its landmarks lie where the mean 3-D face's project to.

    Args:
        picture: uint8 [height, width, 3].
        landmarks: [5, 2] as `five_landmarks` orders them, pixels, y down.

    Returns:
        float32 [5]: the picture's width and height, scale, and where the mean face's origin lies (pixels, y up);
        uint8 [224, 224, 3]: the aligned picture, black where it ends.
    """
    height, width = picture.shape[:2]
    upward = np.column_stack([landmarks[:, 0], height - 1 - landmarks[:, 1]])
    camera, *_ = np.linalg.lstsq(np.column_stack([MEAN_LANDMARKS, np.ones(5)]), upward, rcond=None)
    origin = camera[3]
    scale = FACE_SCALE / np.linalg.norm(camera[:3], axis=0).mean()

    scaled_width, scaled_height = int(width * scale), int(height * scale)
    left = int((scaled_width - ALIGNED_SIZE) / 2 + (origin[0] - width / 2) * scale)
    top = int((scaled_height - ALIGNED_SIZE) / 2 + (height / 2 - origin[1]) * scale)
    scaled = Image.fromarray(picture).resize((scaled_width, scaled_height), Image.Resampling.BICUBIC)
    aligned = scaled.crop((left, top, left + ALIGNED_SIZE, top + ALIGNED_SIZE))
    return np.array([width, height, scale, *origin], np.float32), np.asarray(aligned)

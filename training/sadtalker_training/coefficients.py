"""The demo's motion coefficients: their meaning, and the motion of keypoints under them.

Of the 70 coefficients of a frame (64 expression, 3 angles, 3 translation) the first seven of the expression carry
the blendshapes below and the others are free; angles are pitch, yaw and roll in radians; of the translation only y is
used, in units of the frame, which spans [-1, 1] (x right, y down, z towards the viewer).
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sadtalker_export.networks.audio2exp import EXPRESSION
from sadtalker_export.networks.audio2pose import POSE

Floats = npt.NDArray[np.float32]

JAW, WIDTH, ROUND, CORNERS, UPPER_LIP, BLINK, BROWS = range(7)
BLENDSHAPES = ("jaw", "width", "round", "corners", "upper_lip", "blink", "brows")
LOWEST = np.array([0, -1, 0, -1, 0, 0, -1], np.float32)
HIGHEST = np.array([1.15, 1, 1, 1, 1, 1, 1.2], np.float32)
PITCH, YAW, ROLL = EXPRESSION, EXPRESSION + 1, EXPRESSION + 2
VERTICAL = EXPRESSION + 4  # of the translation, the one component that moves keypoints
COEFFICIENTS = EXPRESSION + POSE

KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_brow", "right_brow"),
    *("left_corner", "right_corner", "upper_lip", "lower_lip", "chin"),
    *("left_jaw", "right_jaw", "forehead", "left_cheek", "right_cheek"),
)
"""Left and right as seen in the picture."""


def _keypoint_motion() -> Floats:
    """Return the offset of every keypoint per unit of every blendshape: [7, 15, 3].

    Offsets are about 1.2 times the motion of the points themselves on a face of usual size: the flow is a mixture of
    the keypoints' translations, so these must reach as far as the largest motion around them.
    """
    moves: dict[int, dict[str, tuple[float, float, float]]] = {
        JAW: {"lower_lip": (0.0, 0.23, 0.0), "chin": (0.0, 0.20, 0.0), "upper_lip": (0.0, -0.03, 0.0)}
        | dict.fromkeys(("left_corner", "right_corner"), (0, 0.03, 0))
        | dict.fromkeys(("left_jaw", "right_jaw"), (0, 0.03, 0)),
        WIDTH: {"left_corner": (-0.075, 0, 0), "right_corner": (0.075, 0, 0)},
        ROUND: {"left_corner": (0.10, 0.0, 0.0), "right_corner": (-0.10, 0.0, 0.0)}
        | {"upper_lip": (0.0, -0.03, 0.06), "lower_lip": (0.0, 0.03, 0.06)},
        CORNERS: {"left_corner": (-0.03, -0.085, 0), "right_corner": (0.03, -0.085, 0)},
        UPPER_LIP: {"upper_lip": (0, -0.085, 0)},
        BLINK: {"left_eye": (0, 0.11, 0), "right_eye": (0, 0.11, 0)},
        BROWS: {"left_brow": (0, -0.10, 0), "right_brow": (0, -0.10, 0)},
    }
    basis = np.zeros((len(BLENDSHAPES), len(KEYPOINTS), 3), np.float32)
    for blendshape, offsets in moves.items():
        for name, offset in offsets.items():
            basis[blendshape, KEYPOINTS.index(name)] = offset
    return basis


KEYPOINT_MOTION = _keypoint_motion()


@dataclass(frozen=True)
class Pose:
    """Angles in radians and the vertical shift of the head."""

    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    shift: float = 0.0

    def rotation(self) -> Floats:
        """Return R = Rx(pitch) Ry(yaw) Rz(roll), as the motion network composes it: [3, 3]."""
        (cx, sx), (cy, sy), (cz, sz) = ((math.cos(a), math.sin(a)) for a in (self.pitch, self.yaw, self.roll))
        x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        rotation: Floats = (x @ y @ z).astype(np.float32)
        return rotation


def frame_coefficients(blendshapes: Floats, pose: Pose) -> Floats:
    """Return the 70 coefficients of a frame from its seven blendshapes and its pose."""
    coefficients = np.zeros(COEFFICIENTS, np.float32)
    coefficients[: len(BLENDSHAPES)] = blendshapes
    coefficients[[PITCH, YAW, ROLL, VERTICAL]] = pose.pitch, pose.yaw, pose.roll, pose.shift
    return coefficients


def move_keypoints(canonical: Floats, blendshapes: Floats, pose: Pose) -> Floats:
    """Return the keypoints [15, 3] of a frame from the canonical ones."""
    moved: Floats = canonical @ pose.rotation().T + np.einsum("c,ckd->kd", blendshapes, KEYPOINT_MOTION)
    moved[:, 1] += np.float32(pose.shift)
    return moved


def random_blendshapes(rng: np.random.Generator, *, resting: bool = False) -> Floats:
    """Draw seven blendshapes: of speech and expression, or of a face that sits for its portrait."""
    values = np.zeros(len(BLENDSHAPES), np.float32)
    if resting:
        kind = rng.choice(["neutral", "smile", "any"], p=[0.35, 0.35, 0.3])
        if kind == "smile":  # with teeth, as in many photographs
            values[[JAW, WIDTH, CORNERS, UPPER_LIP]] = rng.uniform((0, 0.1, 0.2, 0), (0.4, 1, 1, 1))
            values[BROWS] = rng.normal(0, 0.3)
        elif kind == "any":
            values[:] = rng.normal(0, 0.3, len(values))
            values[JAW] = max(0.0, rng.uniform(-0.2, 0.45))
            values[[ROUND, UPPER_LIP, BLINK]] = np.abs(values[[ROUND, UPPER_LIP, BLINK]]) * (0.5, 1, 0.3)
    else:
        values[JAW] = max(0.0, rng.uniform(-0.25, 1.1))
        values[WIDTH] = rng.normal(0, 0.5)
        values[ROUND] = max(0.0, rng.uniform(-0.7, 1)) * (values[WIDTH] < 0.3)
        values[CORNERS] = rng.normal(0, 0.35)
        values[UPPER_LIP] = max(0.0, rng.uniform(-1, 1))
        values[BLINK] = rng.choice([0.0, 1.0, rng.random()], p=[0.55, 0.25, 0.2])
        values[BROWS] = rng.normal(0, 0.35)
    return np.clip(values, LOWEST, HIGHEST).astype(np.float32)


def random_pose(rng: np.random.Generator, *, resting: bool = False) -> Pose:
    """Draw a head turned as in conversation, or nearly frontal as in most portraits."""
    spread = 0.5 if resting else rng.choice([0.2, 1.0], p=[0.4, 0.6])
    pitch, yaw, roll = np.clip(rng.normal(0, (0.10, 0.16, 0.08)) * spread, -0.4, 0.4)
    return Pose(float(pitch), float(yaw), float(roll), float(rng.normal(0, 0.03) * spread))

"""Keypoints of a frame from a window of 3DMM coefficients: SadTalker's MappingNet and the head's rigid motion."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WINDOW = 27  # frames that the mapping sees: 13 on either side
DEGREES_PER_BIN, DEGREES_OF_FIRST_BIN = 3.0, -99.0
PI = 3.14  # not math.pi: the checkpoints were trained with this value
LARGEST_GIVEN = 180.0  # degrees; a given angle beyond it stands for none


@dataclass(frozen=True)
class MotionSize:
    coefficients: int = 70  # 73 for the full-picture mapping, which also sees the crop
    width: int = 1024
    layers: int = 3
    bins: int = 66
    keypoints: int = 15


@dataclass(frozen=True)
class HeadMotion:
    """Logits of the binned head angles [B, bins], translation [B, 3], keypoint offsets [B, K, 3]."""

    yaw: Tensor
    pitch: Tensor
    roll: Tensor
    translation: Tensor
    expression: Tensor


class CoefficientMapping(nn.Module):
    """Window of coefficients [B, coefficients, 27] -> `HeadMotion`, by dilated convolutions over time."""

    def __init__(self, size: MotionSize) -> None:
        super().__init__()
        self.stem = nn.Conv1d(size.coefficients, size.width, 7)
        self.layers = nn.ModuleList(nn.Conv1d(size.width, size.width, 3, dilation=3) for _ in range(size.layers))
        self.yaw = nn.Linear(size.width, size.bins)
        self.pitch = nn.Linear(size.width, size.bins)
        self.roll = nn.Linear(size.width, size.bins)
        self.translation = nn.Linear(size.width, 3)
        self.expression = nn.Linear(size.width, 3 * size.keypoints)

    def forward(self, window: Tensor) -> HeadMotion:
        x = self.stem(window)
        for layer in self.layers:
            x = layer(F.leaky_relu(x, 0.1)) + x[:, :, 3:-3]
        x = x.mean(2)
        return HeadMotion(
            self.yaw(x),
            self.pitch(x),
            self.roll(x),
            self.translation(x),
            self.expression(x).reshape(x.shape[0], -1, 3),
        )


class Motion(nn.Module):
    """Canonical keypoints [B, K, 3] and windows of coefficients [B, F, coefficients, 27] -> keypoints [B, F, K, 3].

    `head_angles` [B, F, 3] are yaw, pitch and roll in degrees that replace the mapping's own; values beyond 180 leave
    the mapping's. (NaN would not do: engines with fast arithmetic need not tell it from a number.)
    """

    def __init__(self, size: MotionSize) -> None:
        super().__init__()
        self.mapping = CoefficientMapping(size)

    def forward(
        self, canonical_keypoints: Tensor, coefficient_windows: Tensor, head_angles: Tensor | None = None
    ) -> Tensor:
        frames = coefficient_windows.shape[1]
        motion = self.mapping(coefficient_windows.flatten(0, 1))
        canonical = canonical_keypoints.unsqueeze(1).expand(-1, frames, -1, -1).flatten(0, 1)
        moved = move_keypoints(canonical, motion, None if head_angles is None else head_angles.flatten(0, 1))
        return moved.reshape(-1, frames, *moved.shape[1:])


def move_keypoints(canonical: Tensor, motion: HeadMotion, given: Tensor | None = None) -> Tensor:
    """Rotate, shift and deform keypoints [B, K, 3]; `given` [B, 3] are degrees as `Motion` takes them."""
    angles = torch.stack([bin_degrees(motion.yaw), bin_degrees(motion.pitch), bin_degrees(motion.roll)], 1)
    if given is not None:
        angles = torch.where(given.abs() <= LARGEST_GIVEN, given, angles)
    vertical = motion.translation * motion.translation.new_tensor([0.0, 1.0, 0.0])
    rotated = canonical @ rotation_matrix(*angles.unbind(1)).transpose(1, 2)
    return rotated + vertical.unsqueeze(1) + motion.expression


def bin_degrees(logits: Tensor) -> Tensor:
    """Return the expected angle in degrees under softmax(logits): [B, bins] -> [B]."""
    bins = torch.arange(logits.shape[1], dtype=logits.dtype, device=logits.device)
    return (F.softmax(logits, 1) * bins).sum(1) * DEGREES_PER_BIN + DEGREES_OF_FIRST_BIN


def rotation_matrix(yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Return R = Rx(pitch) Ry(yaw) Rz(roll) from degrees, each [B] -> [B, 3, 3]."""
    (cp, sp), (cy, sy), (cr, sr) = ((torch.cos(a / 180 * PI), torch.sin(a / 180 * PI)) for a in (pitch, yaw, roll))
    rows = (
        (cy * cr, -cy * sr, sy),
        (sp * sy * cr + cp * sr, cp * cr - sp * sy * sr, -sp * cy),
        (sp * sr - cp * sy * cr, cp * sy * sr + sp * cr, cp * cy),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1)

"""The motion network: windows of coefficients to head pose and keypoint offsets, by regression."""

from collections.abc import Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
import torch.nn.functional as F
from sadtalker_export.networks.motion import WINDOW, Motion, bin_degrees
from torch import Tensor, nn

from ..coefficients import (
    BLENDSHAPES,
    COEFFICIENTS,
    HIGHEST,
    KEYPOINT_MOTION,
    LOWEST,
    PITCH,
    ROLL,
    VERTICAL,
    YAW,
)
from .task import BatchSource, Losses, Task, generated_batches

BATCH = 64
UNUSED = 0.3  # standard deviation of the coefficients that mean nothing, which the network learns to ignore
ANGLES, SHIFT = 0.22, 0.05  # standard deviations, radians and units of the frame


def coefficient_windows(rng: np.random.Generator, count: int) -> Tensor:
    """Return curves through random points: [count, 70, 27]."""

    def curves(channels: int, spread: float) -> Tensor:
        points = rng.standard_normal((count, channels, rng.integers(2, 15)), dtype=np.float32) * np.float32(spread)
        points *= rng.random((count, channels, 1)) < 0.85
        return F.interpolate(torch.from_numpy(points), size=WINDOW, mode="linear", align_corners=True)

    windows = curves(COEFFICIENTS, UNUSED)
    shapes = len(BLENDSHAPES)
    lowest, highest = (torch.from_numpy(v)[None, :, None] for v in (LOWEST, HIGHEST))
    windows[:, :shapes] = (curves(shapes, 0.5) + 0.2).clamp(lowest, highest)
    windows[:, [PITCH, YAW, ROLL]] = curves(3, ANGLES)
    windows[:, VERTICAL] = curves(1, SHIFT)[:, 0]
    return windows


class MotionTask(Task):
    """The training of the motion network."""

    name = "motion"
    network_names = frozenset({"motion"})
    budget = 300_000
    rate = 2e-3

    def batch_source(self, samples: int) -> AbstractContextManager[BatchSource]:
        device = self.context.device
        return generated_batches(self.context.seed, samples, lambda rng: coefficient_windows(rng, BATCH).to(device))

    def losses(self, batch: Tensor, progress: float) -> tuple[Losses, int]:
        degrees, vertical, expression = _errors(self.networks["motion"], batch)
        return {
            "degrees": degrees.mean() / 10,
            "vertical": 10 * vertical.mean(),
            "expression": 20 * expression.mean(),
        }, len(batch)

    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return mean absolute errors: angles in degrees, shift and keypoint offsets in units of the frame."""
        windows = coefficient_windows(np.random.default_rng(10**9), 512).to(self.context.device)
        errors = _errors(networks["motion"], windows)
        return dict(zip(("degrees", "vertical", "expression"), (float(e.mean()) for e in errors), strict=True))


def _errors(network: nn.Module, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the absolute errors for the windows' middle frames."""
    assert isinstance(network, Motion)
    middle = windows[:, :, WINDOW // 2]
    motion = network.mapping(windows)
    degrees = torch.stack([bin_degrees(logits) for logits in (motion.yaw, motion.pitch, motion.roll)], 1)
    basis = torch.from_numpy(KEYPOINT_MOTION).to(windows)
    expression = torch.einsum("bc,ckd->bkd", middle[:, : len(basis)], basis)
    return (
        (degrees - torch.rad2deg(middle[:, [YAW, PITCH, ROLL]])).abs(),
        (motion.translation[:, 1] - middle[:, VERTICAL]).abs(),
        (motion.expression - expression).abs(),
    )

"""A volume sampled along a dense 3-D flow without a five-dimensional GridSample.

The slices of the volume are stacked into one tall picture, a row of zeros between any two. A trilinear sample is then
the blend of two bilinear samples, in the slice below and the slice above: two ordinary 2-D grid samples.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def sample_volume(volume: Tensor, flow: Tensor) -> Tensor:
    """Sample volume [B, C, D, H, W] at flow [B, F, D, H, W, 3], (x, y, z) in [-1, 1] -> [B, F, C, D, H, W].

    As `grid_sample(..., align_corners=False)` with zeros outside, for F flows per volume.
    """
    b, c, d, h, w = volume.shape
    frames = flow.shape[1]
    tall = F.pad(volume, (0, 0, 1, 0)).reshape(b, c, d * (h + 1), w)
    tall = F.pad(tall, (0, 0, 0, 1))
    rows = d * (h + 1) + 1
    flow = flow.reshape(b, frames * d * h, w, 3)
    x = flow[..., 0]
    y = (((flow[..., 1] + 1) * h - 1) / 2).clamp(-1, h)
    z = (((flow[..., 2] + 1) * d - 1) / 2).clamp(-1, d)
    below = z.floor()
    part = z - below
    sampled = []
    for slice_, weight in ((below, 1 - part), (below + 1, part)):
        inside = ((slice_ >= 0) & (slice_ <= d - 1)).to(weight.dtype)
        row = slice_.clamp(0, d - 1) * (h + 1) + 1 + y
        grid = torch.stack([x, (2 * row + 1) / rows - 1], -1)
        sampled.append(F.grid_sample(tall, grid, align_corners=False) * (weight * inside).unsqueeze(1))
    return (sampled[0] + sampled[1]).reshape(b, c, frames, d, h, w).transpose(1, 2)

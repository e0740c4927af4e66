"""A volume resampled under a pure translation, axis by axis.

Trilinear weights are products of one linear weight per axis, and under a translation the weight of an axis depends
on that axis alone. So the five-dimensional grid sample of a translated grid is three small matrix products.
"""

import torch
from torch import Tensor

from ..networks.convolution import inclusive_axis


def axis_weights(shift: Tensor, length: int) -> Tensor:
    """Return linear weights along one axis: shift [N], in [-1, 1] units -> [N, length out, length in].

    Output i lies at inclusive coordinate i, moved by `shift`; input pixels are read with align_corners=False and
    zeros outside, exactly as the plain form does.
    """
    position = ((inclusive_axis(length, shift) + shift.unsqueeze(1) + 1) * length - 1) / 2
    pixel = torch.arange(length, dtype=shift.dtype, device=shift.device)
    return torch.relu(1 - (position.unsqueeze(2) - pixel).abs())


def translate(volume: Tensor, shifts: Tensor) -> Tensor:
    """Translate volume [B, C, D, H, W] by shifts [B, N, 3] as (x, y, z): [B, N, C, D, H, W]."""
    b, c, d, h, w = volume.shape
    n = shifts.shape[1]
    x, y, z = (axis_weights(shifts[:, :, i].reshape(-1), length) for i, length in enumerate((w, h, d)))
    moved = volume.reshape(b, 1, c * d * h, w) @ x.reshape(b, n, w, w).transpose(2, 3)
    moved = y.reshape(b * n, 1, h, h) @ moved.reshape(b * n, c * d, h, w)
    moved = z.reshape(b * n, 1, d, d) @ moved.reshape(b * n, c, d, h * w)
    return moved.reshape(b, n, c, d, h, w)

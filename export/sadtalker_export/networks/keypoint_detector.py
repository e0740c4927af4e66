"""Canonical 3-D keypoints of a portrait, pose and expression removed (Wang et al. 2021, one-shot talking heads)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import ConvNorm, inclusive_axis

TEMPERATURE = 0.1  # of the softmax that turns heat maps into positions
SHRINK = 4  # the detector looks at a quarter of the resolution
BLUR_TAPS = 13  # of the anti-aliasing filter before that; its weights lie in the checkpoint


@dataclass(frozen=True)
class KeypointDetectorSize:
    keypoints: int = 15
    width: int = 32
    max_width: int = 1024
    blocks: int = 5
    depth: int = 16


class KeypointDetector(nn.Module):
    """Portrait [B, 3, H, W], RGB in [0, 1] -> keypoints [B, K, 3], (x, y, z) in [-1, 1]."""

    blur: Tensor

    def __init__(self, size: KeypointDetectorSize) -> None:
        super().__init__()
        widths = [min(size.max_width, size.width * 2**i) for i in range(size.blocks + 1)]
        self.depth = size.depth
        self.register_buffer("blur", torch.zeros(3, 1, BLUR_TAPS, BLUR_TAPS))
        self.down = nn.ModuleList(
            ConvNorm(3 if i == 0 else widths[i], widths[i + 1], change="down") for i in range(size.blocks)
        )
        self.lift = nn.Conv2d(widths[-1], widths[-1] * size.depth, 1)
        self.up = nn.ModuleList(
            ConvNorm(widths[i + 1], widths[i], dims=3, change="up") for i in reversed(range(size.blocks))
        )
        self.heatmaps = nn.Conv3d(widths[0], size.keypoints, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return expectation(self.scores(image))

    def scores(self, image: Tensor) -> Tensor:
        """Return the heat maps before the softmax: [B, K, D, H/4, W/4]."""
        x = F.conv2d(image, self.blur, stride=SHRINK, padding=BLUR_TAPS // 2, groups=3)
        for down in self.down:
            x = down(x)
        x = self.lift(x)
        x = x.reshape(x.shape[0], -1, self.depth, *x.shape[2:])
        for up in self.up:
            x = up(x)
        scores: Tensor = self.heatmaps(x)
        return scores


def expectation(heatmaps: Tensor) -> Tensor:
    """Return the mean position under the softmax of each heat map [B, K, D, H, W]: (x, y, z) [B, K, 3]."""
    _, _, d, h, w = heatmaps.shape
    p = F.softmax(heatmaps.flatten(2) / TEMPERATURE, 2).reshape(heatmaps.shape)
    marginals = ((p.sum((2, 3)), w), (p.sum((2, 4)), h), (p.sum((3, 4)), d))
    return torch.stack([(m * inclusive_axis(n, m)).sum(2) for m, n in marginals], 2)

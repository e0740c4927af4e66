"""A dense 3-D flow and an occlusion map from keypoints (Siarohin et al. 2019; in 3-D, Wang et al. 2021)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import ConvNorm, inclusive_axis, inclusive_grid

HEATMAP_VARIANCE = 0.01


@dataclass(frozen=True)
class DenseMotionSize:
    keypoints: int = 15
    channels: int = 32  # of the appearance volume
    depth: int = 16
    compressed: int = 4
    width: int = 32
    max_width: int = 1024
    blocks: int = 5
    mask_kernel: int = 7
    mask_floor: float = 1e-3  # weaker candidate motions are dropped after the softmax, and the flow shrinks by them


class Hourglass3d(nn.Module):
    """Encoder and decoder with skips; height and width are halved and doubled, depth stays."""

    def __init__(self, channels_in: int, width: int, max_width: int, blocks: int) -> None:
        super().__init__()
        widths = [min(max_width, width * 2**i) for i in range(blocks + 1)]
        self.down = nn.ModuleList(
            ConvNorm(channels_in if i == 0 else widths[i], widths[i + 1], dims=3, change="down") for i in range(blocks)
        )
        self.up = nn.ModuleList(
            ConvNorm(widths[i + 1] * (1 if i == blocks - 1 else 2), widths[i], dims=3, change="up")
            for i in reversed(range(blocks))
        )
        self.channels_out = widths[0] + channels_in
        self.merge = ConvNorm(self.channels_out, self.channels_out, dims=3)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        merged: Tensor = self.merge(x)
        return merged


class DenseMotion(nn.Module):
    """Volume [B, C, D, H, W] and two sets of keypoints [B, K, 3] -> flow [B, D, H, W, 3], occlusion [B, 1, H, W].

    The candidates are the identity (the background) and one translation per keypoint, source - driving.
    """

    def __init__(self, size: DenseMotionSize) -> None:
        super().__init__()
        self.keypoints, self.mask_floor, self.depth = size.keypoints, size.mask_floor, size.depth
        candidates = size.keypoints + 1
        self.compress = nn.Conv3d(size.channels, size.compressed, 1)
        self.norm = nn.BatchNorm3d(size.compressed)
        self.hourglass = Hourglass3d(candidates * (size.compressed + 1), size.width, size.max_width, size.blocks)
        features = self.hourglass.channels_out
        self.mask = nn.Conv3d(features, candidates, size.mask_kernel, padding=size.mask_kernel // 2)
        self.occlusion = nn.Conv2d(features * size.depth, 1, 7, padding=3)

    def forward(self, volume: Tensor, source_keypoints: Tensor, driving_keypoints: Tensor) -> tuple[Tensor, Tensor]:
        shifts = self.shifts(source_keypoints, driving_keypoints)
        decided = self.hourglass(self.candidates(self.motion_features(volume), source_keypoints, driving_keypoints))
        return self.flow(decided, shifts), torch.sigmoid(self.occlusion(decided.flatten(1, 2)))

    def shifts(self, source_keypoints: Tensor, driving_keypoints: Tensor) -> Tensor:
        """Return the candidates' translations, the background's first: [B, K+1, 3]."""
        return F.pad(source_keypoints - driving_keypoints, (0, 0, 1, 0))

    def candidates(self, features: Tensor, source_keypoints: Tensor, driving_keypoints: Tensor) -> Tensor:
        """Return the hourglass's input: per candidate a heat map and the features under its motion."""
        shape = features.shape[2:]
        moved = self.moved_features(features, self.shifts(source_keypoints, driving_keypoints))
        heat = gaussian_maps(driving_keypoints, shape) - gaussian_maps(source_keypoints, shape)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1)
        return torch.cat([heat.unsqueeze(2), moved], 2).flatten(1, 2)

    def motion_features(self, volume: Tensor) -> Tensor:
        """Return the portrait's features for the motion estimate: [B, compressed, D, H, W]."""
        return F.relu(self.norm(self.compress(volume)))

    def moved_features(self, features: Tensor, shifts: Tensor) -> Tensor:
        """Return the features under every candidate motion: shifts [B, K+1, 3] -> [B, K+1, compressed, D, H, W]."""
        b, c, d, h, w = features.shape
        candidates = shifts.shape[1]
        grids = inclusive_grid((d, h, w), features) + shifts.reshape(b * candidates, 1, 1, 1, 3)
        repeated = features.unsqueeze(1).expand(-1, candidates, -1, -1, -1, -1).flatten(0, 1)
        moved = F.grid_sample(repeated, grids, align_corners=False)
        return moved.reshape(b, candidates, c, d, h, w)

    def flow(self, features: Tensor, shifts: Tensor) -> Tensor:
        """Return the flow [B, D, H, W, 3] that the hourglass's features [B, C, D, H, W] choose among the candidates."""
        return mixed_flow(self.mask(features), shifts, self.mask_floor)


def mixed_flow(logits: Tensor, shifts: Tensor, floor: float) -> Tensor:
    """Return the candidate motions weighed by softmax(logits [B, K+1, D, H, W]): [B, D, H, W, 3]."""
    mask, grid = F.softmax(logits, 1), inclusive_grid(tuple(logits.shape[2:]), logits)
    # sum over candidates of mask * (grid + shift); a whole softmax sums up to 1
    if floor:
        mask = torch.where(mask < floor, torch.zeros_like(mask), mask)
        grid = mask.sum(1).unsqueeze(-1) * grid
    return grid + torch.einsum("bkdhw,bkc->bdhwc", mask, shifts)


def gaussian_maps(keypoints: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a Gaussian around every keypoint, the product of its three axes: [B, K, 3] -> [B, K, D, H, W]."""
    d, h, w = shape
    x, y, z = (
        torch.exp((inclusive_axis(n, keypoints) - keypoints[:, :, i : i + 1]) ** 2 * (-0.5 / HEATMAP_VARIANCE))
        for i, n in ((0, w), (1, h), (2, d))
    )
    return z[:, :, :, None, None] * y[:, :, None, :, None] * x[:, :, None, None, :]

"""GFP-GAN's U-Net (Wang et al. 2021): reads a degraded face as latents and spatial features for a generator."""

import torch.nn.functional as F
from torch import Tensor, nn

from .stylegan2 import SLOPE, double


class ResampleBlock(nn.Module):
    """Two 3x3 convolutions with a change of resolution by two between them, beside a 1x1 shortcut."""

    def __init__(self, channels_in: int, channels_out: int, *, up: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_in, 3, padding=1)
        self.conv2 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.up = up

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.conv1(x), SLOPE)
        # the shortcut commutes with the resampling: it goes where there are fewer pixels
        if self.up:
            y, skip = double(y), double(self.skip(x))
        else:
            y, skip = F.avg_pool2d(y, 2), self.skip(F.avg_pool2d(x, 2))
        return F.leaky_relu(self.conv2(y), SLOPE) + skip


class FeatureHead(nn.Module):
    """Two 3x3 convolutions that keep the width."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.leaky_relu(self.conv1(x), SLOPE))
        return y


class DegradationRemoval(nn.Module):
    """Face [B, 3, R, R] in [-1, 1] -> latents [B, 2 * levels, latent], (scale, shift) per resolution from 8 to R.

    `widths` are those from 4x4 to R x R.
    """

    def __init__(self, latent: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        doublings = len(widths) - 1
        self.latent = latent
        self.stem = nn.Conv2d(3, widths[-1], 1)
        self.down = nn.ModuleList(ResampleBlock(widths[i + 1], widths[i], up=False) for i in reversed(range(doublings)))
        self.bottleneck = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.to_latents = nn.Linear(widths[0] * 4 * 4, 2 * len(widths) * latent)
        self.up = nn.ModuleList(ResampleBlock(widths[i], widths[i + 1], up=True) for i in range(doublings))
        self.scales = nn.ModuleList(FeatureHead(width) for width in widths[1:])
        self.shifts = nn.ModuleList(FeatureHead(width) for width in widths[1:])

    def forward(self, face: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        x = F.leaky_relu(self.stem(face), SLOPE)
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = F.leaky_relu(self.bottleneck(x), SLOPE)
        latents = self.to_latents(x.flatten(1)).reshape(x.shape[0], -1, self.latent)
        features = []
        for up, scale, shift in zip(self.up, self.scales, self.shifts, strict=True):
            x = up(x + skips.pop())
            features.append((scale(x), shift(x)))
        return latents, features

"""Frames from warped features: residual blocks with spatially adaptive normalisation (SPADE, Park et al. 2019)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import repeat_pixels

SLOPE = 0.2
EPSILON = 1e-5


@dataclass(frozen=True)
class SpadeDecoderSize:
    features: int = 256
    middle: int = 512
    middle_blocks: int = 6
    up: tuple[int, int] = (256, 64)
    hidden: tuple[int, int, int] = (128, 128, 128)  # of the modulation: middle blocks, first and second doubling


class SpectralConv2d(nn.Module):
    """A convolution whose weight is divided by its largest singular value, from the stored u and v (Miyato 2018)."""

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, channels_in: int, channels_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.zeros(channels_out, channels_in, kernel, kernel))
        self.register_buffer("weight_u", torch.zeros(channels_out))
        self.register_buffer("weight_v", torch.zeros(channels_in * kernel * kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None

    @property
    def weight(self) -> Tensor:
        # u^T W v as a plain sum: training in mixed precision would round a matrix product
        return self.weight_orig / (self.weight_u.unsqueeze(1) * self.weight_orig.flatten(1) * self.weight_v).sum()

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight_orig.shape[2] // 2)


class Spade(nn.Module):
    """Instance normalisation, modulated pixel by pixel by a small network that reads the features."""

    def __init__(self, channels: int, features: int, hidden: int) -> None:
        super().__init__()
        self.shared = nn.Conv2d(features, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        factor = x.shape[2] // features.shape[2]
        shared = F.relu(self.shared(repeat_pixels(features, factor)))
        out: Tensor = normalise(x) * (1 + self.gamma(shared)) + self.beta(shared)
        return out


class SpadeBlock(nn.Module):
    """Two modulated convolutions beside a shortcut, which is learned where the width changes."""

    def __init__(self, channels_in: int, channels_out: int, features: int, hidden: int) -> None:
        super().__init__()
        middle = min(channels_in, channels_out)
        self.spade0 = Spade(channels_in, features, hidden)
        self.conv0 = SpectralConv2d(channels_in, middle, 3)
        self.spade1 = Spade(middle, features, hidden)
        self.conv1 = SpectralConv2d(middle, channels_out, 3)
        self.learned_shortcut = channels_in != channels_out
        if self.learned_shortcut:
            self.spade_skip = Spade(channels_in, features, hidden)
            self.conv_skip = SpectralConv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        y = self.conv0(F.leaky_relu(self.spade0(x, features), SLOPE))
        y = self.conv1(F.leaky_relu(self.spade1(y, features), SLOPE))
        skip = self.conv_skip(self.spade_skip(x, features)) if self.learned_shortcut else x
        out: Tensor = y + skip
        return out


class SpadeDecoder(nn.Module):
    """Features [B, features, H, W] -> frames [B, 3, 4H, 4W], RGB in (0, 1)."""

    def __init__(self, size: SpadeDecoderSize) -> None:
        super().__init__()
        f, m, (a, b) = size.features, size.middle, size.up
        self.stem = nn.Conv2d(f, m, 3, padding=1)
        self.middle = nn.ModuleList(SpadeBlock(m, m, f, size.hidden[0]) for _ in range(size.middle_blocks))
        self.up = nn.ModuleList([SpadeBlock(m, a, f, size.hidden[1]), SpadeBlock(a, b, f, size.hidden[2])])
        self.to_rgb = nn.Conv2d(b, 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        x = self.stem(features)
        for block in self.middle:
            x = block(x, features)
        for block in self.up:
            x = block(repeat_pixels(x), features)
        return torch.sigmoid(self.to_rgb(F.leaky_relu(x, SLOPE)))


def normalise(x: Tensor) -> Tensor:
    """Normalise every channel of every item over its pixels (instance normalisation), without parameters."""
    return F.instance_norm(x, eps=EPSILON)

"""The 3-D appearance volume of a portrait (Wang et al. 2021), computed once and warped for every frame."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import ConvNorm
from .picture_transfer import carry


@dataclass(frozen=True)
class AppearanceEncoderSize:
    width: int = 64
    down_blocks: int = 2
    channels: int = 32  # of the volume
    depth: int = 16
    residual_blocks: int = 6
    carries_picture: bool = False  # see `picture_transfer`


class ResidualBlock3d(nn.Module):
    """Two pre-activated 3x3x3 convolutions beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm3d(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        out: Tensor = x + self.conv2(F.relu(self.norm2(y)))
        return out


class AppearanceEncoder(nn.Module):
    """Portrait [B, 3, H, W], RGB in [0, 1] -> volume [B, channels, depth, H/4, W/4]."""

    def __init__(self, size: AppearanceEncoderSize) -> None:
        super().__init__()
        self.channels, self.depth, self.carries_picture = size.channels, size.depth, size.carries_picture
        self.stem = ConvNorm(3, size.width)
        self.down = nn.ModuleList(
            ConvNorm(size.width * 2**i, size.width * 2 ** (i + 1), change="down") for i in range(size.down_blocks)
        )
        self.lift = nn.Conv2d(size.width * 2**size.down_blocks, size.channels * size.depth, 1)
        self.residual = nn.ModuleList(ResidualBlock3d(size.channels) for _ in range(size.residual_blocks))

    def forward(self, image: Tensor) -> Tensor:
        x: Tensor = self.stem(image)
        for down in self.down:
            x = down(x)
        x = self.lift(x)
        x = x.reshape(x.shape[0], self.channels, self.depth, *x.shape[2:])
        for block in self.residual:
            x = block(x)
        return carry(x, image) if self.carries_picture else x

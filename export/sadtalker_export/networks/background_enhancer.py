"""Pictures at twice the size, Real-ESRGAN (Wang et al. 2021) in its version x2plus: ESRGAN's network of dense blocks.

The picture's pixels are first folded into channels, so that nearly all of the network works at half of its size.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import repeat_pixels

SLOPE = 0.2
RESIDUAL = 0.2  # share of what a block adds
SCALE = 2


@dataclass(frozen=True)
class BackgroundEnhancerSize:
    features: int = 64
    growth: int = 32  # channels that each convolution of a dense block adds
    blocks: int = 23


class DenseBlock(nn.Module):
    """Five 3x3 convolutions, each of which sees the input and what all before it have made."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        outputs = (growth, growth, growth, growth, features)
        self.convs = nn.ModuleList(
            nn.Conv2d(features + i * growth, output, 3, padding=1) for i, output in enumerate(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for conv in self.convs[:-1]:
            seen = torch.cat([seen, F.leaky_relu(conv(seen), SLOPE)], 1)
        added: Tensor = self.convs[-1](seen)
        return x + RESIDUAL * added


class ResidualDenseBlocks(nn.Module):
    """Three dense blocks, of which a share is added to the input."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(DenseBlock(features, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.blocks(x)
        return x + RESIDUAL * added


class BackgroundEnhancer(nn.Module):
    """Picture [B, 3, H, W], RGB in [0, 1], height and width even -> [B, 3, 2H, 2W], roughly the same range."""

    def __init__(self, size: BackgroundEnhancerSize) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 * SCALE**2, size.features, 3, padding=1)
        self.body = nn.Sequential(*(ResidualDenseBlocks(size.features, size.growth) for _ in range(size.blocks)))
        self.merge, self.up1, self.up2, self.fine = (
            nn.Conv2d(size.features, size.features, 3, padding=1) for _ in range(4)
        )
        self.head = nn.Conv2d(size.features, 3, 3, padding=1)

    def forward(self, picture: Tensor) -> Tensor:
        x = self.stem(F.pixel_unshuffle(picture, SCALE))
        x = x + self.merge(self.body(x))
        for up in (self.up1, self.up2):
            x = F.leaky_relu(up(repeat_pixels(x)), SLOPE)
        enlarged: Tensor = self.head(F.leaky_relu(self.fine(x), SLOPE))
        return enlarged


class TileEnhancer(nn.Module):
    """Tiles uint8 [B, S, S, 3] of a picture -> tiles uint8 [B, 2S, 2S, 3], RGB."""

    def __init__(self, enhancer: BackgroundEnhancer) -> None:
        super().__init__()
        self.enhancer = enhancer

    def forward(self, tiles: Tensor) -> Tensor:
        # TensorRT knows bytes only as a network's inputs and outputs: one cast comes first, the other last.
        pictures = tiles.to(torch.float32).permute(0, 3, 1, 2) / 255
        levels: Tensor = (255 * self.enhancer(pictures)).round().clamp(0, 255)
        return levels.permute(0, 2, 3, 1).to(torch.uint8)

"""3DMM coefficients of a face (Deng et al. 2019): a ResNet-50 with one linear head per group of coefficients."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Order and length of the coefficient groups: identity, expression, texture, angles, illumination, x and y, z.
GROUPS = (80, 64, 80, 3, 27, 2, 1)
EXPANSION = 4


@dataclass(frozen=True)
class FaceReconstructionSize:
    width: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut (He et al. 2015); the 3x3 carries the stride."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels_in, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels_out, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels_out)
        self.skip: nn.Conv2d | None = None
        if stride != 1 or channels_in != channels_out:
            self.skip = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.skip_norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return F.relu(y + (x if self.skip is None else self.skip_norm(self.skip(x))))


class FaceReconstruction(nn.Module):
    """Aligned face [B, 3, 224, 224], RGB in [0, 1] -> coefficients [B, 257]."""

    def __init__(self, size: FaceReconstructionSize) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, size.width, 7, 2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(size.width)
        self.stages = nn.ModuleList()
        channels = size.width
        for i, count in enumerate(size.blocks):
            width = size.width * 2**i
            blocks = nn.ModuleList()
            for j in range(count):
                blocks.append(Bottleneck(channels, width, stride=2 if i > 0 and j == 0 else 1))
                channels = width * EXPANSION
            self.stages.append(blocks)
        self.heads = nn.ModuleList(nn.Conv2d(channels, n, 1) for n in GROUPS)

    def forward(self, image: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.stem_norm(self.stem(image))), 3, 2, padding=1)
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                x = block(x)
        x = x.mean((2, 3), keepdim=True)
        return torch.cat([head(x) for head in self.heads], 1).flatten(1)

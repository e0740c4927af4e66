"""ResNet with bottleneck blocks (He et al. 2015), without its classifier: the backbone that several networks share."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4


@dataclass(frozen=True)
class ResNetSize:
    width: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Return the channels of the four stages' outputs."""
        w = self.width * EXPANSION
        return w, 2 * w, 4 * w, 8 * w


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut; the 3x3 carries the stride."""

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


class ResNet(nn.Module):
    """Image [B, 3, H, W] -> the outputs of the four stages, at 1/4, 1/8, 1/16 and 1/32 of the resolution."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, size.width, 7, 2, padding=3, bias=False)
        self.stem_norm = nn.BatchNorm2d(size.width)
        self.stages = nn.ModuleList()
        channels = size.width
        for i, count in enumerate(size.blocks):
            blocks = nn.Sequential()
            for j in range(count):
                blocks.append(Bottleneck(channels, size.width * 2**i, stride=2 if i > 0 and j == 0 else 1))
                channels = size.channels[i]
            self.stages.append(blocks)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.stem_norm(self.stem(image))), 3, 2, padding=1)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

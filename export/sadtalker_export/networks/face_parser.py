"""The part of a face that each pixel shows: ParseNet (Chen et al. 2021, progressive semantic-aware restoration)."""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import repeat_pixels

CLASSES = 19
SLOPE = 0.2


@dataclass(frozen=True)
class FaceParserSize:
    widths: tuple[int, ...] = (64, 128, 256, 256, 256)  # from 512 x 512 to 32 x 32
    blocks: int = 10


class ReflectedConv(nn.Module):
    """A 3x3 convolution over the mirrored picture; `up` repeats pixels first, `down` keeps every second result."""

    def __init__(self, channels_in: int, channels_out: int, change: str | None = None, *, norm: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2 if change == "down" else 1, bias=not norm)
        self.norm = nn.BatchNorm2d(channels_out) if norm else None
        self.up = change == "up"

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            x = repeat_pixels(x)
        x = self.conv(F.pad(x, (1, 1, 1, 1), "reflect"))
        return x if self.norm is None else self.norm(x)


class ParserBlock(nn.Module):
    """Two convolutions beside a shortcut, which is learned where resolution or width change."""

    def __init__(self, channels_in: int, channels_out: int, change: str | None = None) -> None:
        super().__init__()
        up, down = (change if change == kind else None for kind in ("up", "down"))
        self.conv1 = ReflectedConv(channels_in, channels_out, up, norm=True)
        self.conv2 = ReflectedConv(channels_out, channels_out, down, norm=True)
        learned = change is not None or channels_in != channels_out
        self.skip = ReflectedConv(channels_in, channels_out, change) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.skip(x) + self.conv2(F.leaky_relu(self.conv1(x), SLOPE))
        return y


class FaceParser(nn.Module):
    """Aligned face [B, 3, 512, 512], RGB in [-1, 1] -> logits of the 19 CelebAMask-HQ classes [B, 19, 512, 512]."""

    def __init__(self, size: FaceParserSize) -> None:
        super().__init__()
        widths = size.widths
        steps = list(pairwise(widths))
        self.stem = ReflectedConv(3, widths[0])
        self.down = nn.ModuleList(ParserBlock(wide, narrow, "down") for wide, narrow in steps)
        self.body = nn.Sequential(*(ParserBlock(widths[-1], widths[-1]) for _ in range(size.blocks)))
        self.up = nn.ModuleList(ParserBlock(narrow, wide, "up") for wide, narrow in reversed(steps))
        self.head = ReflectedConv(widths[0], CLASSES)

    def forward(self, face: Tensor) -> Tensor:
        x = self.stem(face)
        for down in self.down:
            x = down(x)
        x = x + self.body(x)
        for up in self.up:
            x = up(x)
        logits: Tensor = self.head(x)
        return logits

"""Blind face restoration, RestoreFormer (Wang et al. 2022): faces rebuilt from a dictionary of high-quality parts.

An encoder reads the degraded face, every position of its 16x16 features is replaced by the nearest entry of a
dictionary that was learned from good faces, and a decoder draws the face from these. Attention lets the features of
the degraded face ask for the parts that belong there.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import repeat_pixels

EPSILON = 1e-6


@dataclass(frozen=True)
class RestoreFormerSize:
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2, 4, 4, 8)  # of the width, from 512 x 512 to 16 x 16
    blocks: int = 2  # per resolution in the encoder; the decoder has one more
    heads: int = 8
    latent: int = 256
    codes: int = 1024
    groups: int = 32

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each resolution, from the finest to the coarsest."""
        return tuple(self.width * multiplier for multiplier in self.multipliers)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after a normalisation, beside a shortcut that is learned where the width changes."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, EPSILON)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels_out, EPSILON)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        total: Tensor = self.skip(x) + y
        return total


class Attention(nn.Module):
    """Multi-head attention of all positions [B, C, H, W] to each other, added to them; a guide may ask instead.

    With a guide, features of the same shape, the queries come from it: the degraded face asks, and what the
    dictionary offers answers. The checkpoint has the guide's normalisation everywhere, used or not.
    """

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, EPSILON)
        self.guide_norm = nn.GroupNorm(groups, channels, EPSILON)
        self.query, self.key, self.value, self.merge = (nn.Conv2d(channels, channels, 1) for _ in range(4))
        self.heads, self.scale = heads, (channels // heads) ** -0.5

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        c, h, w = x.shape[1:]
        offered = self.norm(x)
        asking = offered if guide is None else self.guide_norm(guide)
        query, key, value = (
            part.reshape(-1, self.heads, c // self.heads, h * w)
            for part in (self.query(asking), self.key(offered), self.value(offered))
        )  # [B, heads, channels of a head, positions]
        weights = ((query * self.scale).transpose(2, 3) @ key).softmax(3)  # [B, heads, asking, offered]
        answers = (value @ weights.transpose(2, 3)).reshape(-1, c, h, w)
        total: Tensor = x + self.merge(answers)
        return total


class Middle(nn.Module):
    """Attention between two residual blocks, at the coarsest resolution."""

    def __init__(self, channels: int, heads: int, groups: int) -> None:
        super().__init__()
        self.block1 = ResidualBlock(channels, channels, groups)
        self.attention = Attention(channels, heads, groups)
        self.block2 = ResidualBlock(channels, channels, groups)


class Level(nn.Module):
    """The residual blocks of one resolution, each followed by attention where `heads` says so, and a resampling."""

    def __init__(
        self, channels_in: int, channels_out: int, blocks: int, groups: int, heads: int = 0, resample: str = ""
    ) -> None:
        super().__init__()
        inputs = [channels_in, *[channels_out] * (blocks - 1)]
        self.blocks = nn.ModuleList(ResidualBlock(width, channels_out, groups) for width in inputs)
        self.attention = nn.ModuleList(Attention(channels_out, heads, groups) for _ in inputs if heads)
        if resample:
            down = resample == "down"
            self.resample = nn.Conv2d(channels_out, channels_out, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.direction = resample

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        for i, block in enumerate(self.blocks):
            x = block(x)
            if self.attention:
                x = self.attention[i](x, guide)
        if self.direction == "down":
            x = self.resample(F.pad(x, (0, 1, 0, 1)))  # to the right and below only, as it was trained
        elif self.direction == "up":
            x = self.resample(repeat_pixels(x))
        return x


class Encoder(nn.Module):
    """Face [B, 3, R, R] -> latents [B, latent, R / 32, R / 32], and two features as large that guide the decoder."""

    def __init__(self, size: RestoreFormerSize) -> None:
        super().__init__()
        widths, groups = size.widths, size.groups
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            Level(before, width, size.blocks, groups, resample="down")
            for before, width in pairwise((widths[0], *widths[:-1]))
        )
        self.levels.append(Level(widths[-2], widths[-1], size.blocks, groups, size.heads))
        self.middle = Middle(widths[-1], size.heads, groups)
        self.norm = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.head = nn.Conv2d(widths[-1], size.latent, 3, padding=1)

    def forward(self, face: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(face)
        for level in self.levels:
            x = level(x)
        early = self.middle.block1(x)
        late = self.middle.block2(self.middle.attention(early))
        return self.head(F.silu(self.norm(late))), early, late


class Decoder(nn.Module):
    """Latents [B, latent, R / 32, R / 32] and the encoder's two guides -> face [B, 3, R, R]."""

    def __init__(self, size: RestoreFormerSize) -> None:
        super().__init__()
        widths, groups, blocks = size.widths[::-1], size.groups, size.blocks + 1
        self.stem = nn.Conv2d(size.latent, widths[0], 3, padding=1)
        self.middle = Middle(widths[0], size.heads, groups)
        self.levels = nn.ModuleList([Level(widths[0], widths[0], blocks, groups, size.heads, "up")])
        for before, width in pairwise(widths[:-1]):
            self.levels.append(Level(before, width, blocks, groups, resample="up"))
        self.levels.append(Level(widths[-2], widths[-1], blocks, groups))
        self.norm = nn.GroupNorm(groups, widths[-1], EPSILON)
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, latents: Tensor, early: Tensor, late: Tensor) -> Tensor:
        x = self.middle.block1(self.stem(latents))
        x = self.middle.block2(self.middle.attention(x, late))
        for i, level in enumerate(self.levels):
            x = level(x, early) if i == 0 else level(x)
        face: Tensor = self.head(F.silu(self.norm(x)))
        return face


class Dictionary(nn.Module):
    """The nearest entry for every position: [B, latent, H, W] -> the same shape."""

    def __init__(self, codes: int, latent: int) -> None:
        super().__init__()
        self.entries = nn.Embedding(codes, latent)

    def nearest(self, latents: Tensor) -> Tensor:
        """Return the index of the nearest entry of every position: int64 [B, H, W]."""
        entries = self.entries.weight
        # |z - e|^2 = |z|^2 - (2 z.e - |e|^2), and |z|^2 is the same for all entries
        closeness = 2 * (latents.permute(0, 2, 3, 1) @ entries.t()) - entries.square().sum(1)
        return closeness.argmax(-1)

    def forward(self, latents: Tensor) -> Tensor:
        found: Tensor = self.entries(self.nearest(latents)).permute(0, 3, 1, 2)
        return found


class RestoreFormer(nn.Module):
    """Aligned face [B, 3, R, R], RGB in [-1, 1] -> restored face, the same shape and roughly the same range."""

    def __init__(self, size: RestoreFormerSize) -> None:
        super().__init__()
        self.encoder = Encoder(size)
        self.to_dictionary = nn.Conv2d(size.latent, size.latent, 1)
        self.dictionary = Dictionary(size.codes, size.latent)
        self.from_dictionary = nn.Conv2d(size.latent, size.latent, 1)
        self.decoder = Decoder(size)

    def forward(self, face: Tensor) -> Tensor:
        latents, early, late = self.encoder(face)
        parts = self.dictionary(self.to_dictionary(latents))
        restored: Tensor = self.decoder(self.from_dictionary(parts), early, late)
        return restored

"""98 facial landmarks by four stacked hourglasses with CoordConv and a boundary map (AWing, Wang et al. 2019)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import inclusive_axis, repeat_pixels

POINTS = 98
SHRINK = 4  # heat maps have a quarter of the resolution
BOUNDARY_THRESHOLD = 0.05
# The two of the 98 points whose mean is each of the usual 68; most are one point alone.
JAW = tuple(range(0, 33, 2))
LEFT_BROW, RIGHT_BROW = ((33, 33), (34, 41), (35, 40), (36, 39), (37, 38)), ((42, 50), (43, 49), (44, 48), (45, 47))
EYES = (60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75)
_PAIRS = (
    *((i, i) for i in JAW),
    *LEFT_BROW,
    *RIGHT_BROW,
    (46, 46),
    *((i, i) for i in (*range(51, 60), *EYES, *range(76, 96))),
)


@dataclass(frozen=True)
class FaceAlignmentSize:
    width: int = 256
    stacks: int = 4
    depth: int = 4


class CoordConv(nn.Module):
    """A convolution that also sees where it is: row and column in [-1, 1], and the distance from the centre.

    With `boundary` it sees row and column once more, only where the boundary map [B, 1, H, W] is marked (Liu 2018).
    """

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, *, boundary: bool) -> None:
        super().__init__()
        coordinates = 5 if boundary else 3
        self.conv = nn.Conv2d(channels_in + coordinates, channels_out, kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor, boundary: Tensor | None = None) -> Tensor:
        b, _, h, w = x.shape
        position = torch.stack(torch.meshgrid(inclusive_axis(h, x), inclusive_axis(w, x), indexing="ij"))
        radius = position.square().sum(0, keepdim=True).sqrt()
        parts = [x, torch.cat([position, radius / radius.max()]).expand(b, -1, -1, -1)]
        if boundary is not None:
            parts.append(torch.where(boundary > BOUNDARY_THRESHOLD, position, torch.zeros_like(position)))
        y: Tensor = self.conv(torch.cat(parts, 1))
        return y


class PyramidBlock(nn.Module):
    """Three pre-activated 3x3 convolutions, each on the one before, side by side beside a shortcut (Bulat 2017)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, half, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.skip: nn.Conv2d | None = None
        if channels_in != channels_out:
            self.skip_norm = nn.BatchNorm2d(channels_in)
            self.skip = nn.Conv2d(channels_in, channels_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = self.conv1(F.relu(self.norm1(x)))
        b = self.conv2(F.relu(self.norm2(a)))
        c = self.conv3(F.relu(self.norm3(b)))
        skip = x if self.skip is None else self.skip(F.relu(self.skip_norm(x)))
        return torch.cat([a, b, c], 1) + skip


class Hourglass(nn.Module):
    """Down and up through `depth` resolutions, with a shortcut at each (Newell et al. 2016)."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.across, self.down, self.up = (
            nn.ModuleList(PyramidBlock(width, width) for _ in range(depth)) for _ in range(3)
        )
        self.bottom = PyramidBlock(width, width)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for across, down in zip(self.across, self.down, strict=True):
            skips.append(across(x))
            x = down(F.avg_pool2d(x, 2))
        x = self.bottom(x)
        for up in self.up:
            x = skips.pop() + repeat_pixels(up(x))
        return x


class Stack(nn.Module):
    """Features [B, width, H, W], the heat maps of the stack before -> features, heat maps [B, 99, H, W].

    The last heat map is that of the face's boundary lines.
    """

    def __init__(self, width: int, depth: int, *, first: bool) -> None:
        super().__init__()
        self.coordinates = CoordConv(width, width, 1, boundary=not first)
        self.hourglass = Hourglass(width, depth)
        self.block = PyramidBlock(width, width)
        self.conv = nn.Conv2d(width, width, 1)
        self.norm = nn.BatchNorm2d(width)
        self.heatmaps = nn.Conv2d(width, POINTS + 1, 1)

    def forward(self, x: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.hourglass(self.coordinates(x, None if before is None else before[:, -1:]))
        x = F.relu(self.norm(self.conv(self.block(x))))
        return x, self.heatmaps(x)


class FaceAlignment(nn.Module):
    """Face [B, 3, 256, 256], RGB in [0, 1] -> the 68 iBUG landmarks [B, 68, 2], (x, y) in pixels."""

    def __init__(self, size: FaceAlignmentSize) -> None:
        super().__init__()
        w = size.width
        self.stem = CoordConv(3, w // 4, 7, 2, boundary=False)
        self.norm = nn.BatchNorm2d(w // 4)
        self.head = nn.ModuleList([PyramidBlock(w // 4, w // 2), PyramidBlock(w // 2, w // 2), PyramidBlock(w // 2, w)])
        self.stacks = nn.ModuleList(Stack(w, size.depth, first=i == 0) for i in range(size.stacks))
        self.merge_features = nn.ModuleList(nn.Conv2d(w, w, 1) for _ in range(size.stacks - 1))
        self.merge_heatmaps = nn.ModuleList(nn.Conv2d(POINTS + 1, w, 1) for _ in range(size.stacks - 1))

    def forward(self, face: Tensor) -> Tensor:
        return usual_68(peaks(self.heatmaps(face)[:, :POINTS])) * SHRINK

    def heatmaps(self, face: Tensor) -> Tensor:
        """Return the heat maps of the 98 points and, last, of the boundary: [B, 99, 64, 64]."""
        x = F.relu(self.norm(self.stem(face)))
        x = F.avg_pool2d(self.head[0](x), 2)
        x = self.head[2](self.head[1](x))
        features, maps = self.stacks[0](x, None)
        for stack, merge_features, merge_heatmaps in zip(
            self.stacks[1:], self.merge_features, self.merge_heatmaps, strict=True
        ):
            x = x + merge_features(features) + merge_heatmaps(maps)
            features, maps = stack(x, maps)
        result: Tensor = maps
        return result


def peaks(heatmaps: Tensor) -> Tensor:
    """Return the largest pixel of each heat map [B, N, H, W]: its centre (x, y) in pixels, [B, N, 2].

    A peak moves a quarter of a pixel toward the larger of its two neighbours on an axis; on the edge, where it has one
    neighbour only, it stays.
    """
    height, width = heatmaps.shape[2:]
    flat = heatmaps.flatten(2)
    peak = flat.argmax(2)
    row = torch.div(peak, width, rounding_mode="trunc")  # `//` and `%` are exported with signs that TensorRT refuses
    axes = []
    for position, length, step in ((peak - row * width, width, 1), (row, height, width)):
        inside = (position > 0) & (position < length - 1)
        before, after = (torch.where(inside, peak + s, peak).unsqueeze(2) for s in (-step, step))
        slope = (flat.gather(2, after) - flat.gather(2, before)).squeeze(2)
        axes.append(position.to(heatmaps.dtype) + 0.5 + 0.25 * torch.sign(slope))
    return torch.stack(axes, 2)


def usual_68(points: Tensor) -> Tensor:
    """Return the 68 landmarks of the iBUG scheme from the 98 of WFLW, both [B, N, 2]."""
    first, second = torch.tensor(_PAIRS, device=points.device).unbind(1)
    return (points.index_select(1, first) + points.index_select(1, second)) / 2

"""Three-dimensional convolutions of volumes that lie as pictures, [B * D, C, H, W]: two-dimensional ones.

Kernels for pictures are better than those for volumes, and with channels last both lie in memory alike. The taps along
depth become channels: either of the output, whose parts are then added up at their depths, or of the input, which then
has every picture's neighbours beside it. The first moves less where a convolution narrows, the second where it widens.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resize_convolution import ResizeConvolution

Convolution = nn.Conv3d | ResizeConvolution


class Flatten(nn.Module):
    """The depths of a volume as pictures of a batch: [B, C, D, H, W] -> [B * D, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(0, 1)


class Unflatten(nn.Module):
    """The inverse of `Flatten`."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.depth, *x.shape[1:]).transpose(1, 2)


class FlatConvolution(nn.Module):
    """The same function as a same-padded Conv3d, or a `ResizeConvolution` of volumes, on flattened depths.

    `join` says where the taps along depth go: "outputs" or "inputs". Volumes have `depth` slices.
    """

    def __init__(self, conv: Convolution, depth: int, join: str) -> None:
        super().__init__()
        assert join in ("outputs", "inputs") and conv.bias is not None
        weight = conv.weight.detach()
        convolve: Callable[..., Tensor]
        if isinstance(conv, ResizeConvolution):
            assert conv.stride == (1, 2, 2)
            weight = weight.flip(2)  # a transposed convolution spreads what a convolution gathers
            convolve, inputs, outputs = partial(F.conv_transpose2d, stride=conv.stride[1:], padding=1), 0, 1
        else:
            convolve, inputs, outputs = partial(F.conv2d, padding=conv.kernel_size[1] // 2), 1, 0
        self.convolve, self.depth, self.join = convolve, depth, join
        self.taps = weight.shape[2]
        joined = torch.cat(weight.unbind(2), inputs if join == "inputs" else outputs)
        self.weight = nn.Parameter(joined.contiguous(), requires_grad=False)
        bias = conv.bias.detach().clone()
        if join == "outputs":  # each result reads the middle tap once
            bias = F.pad(bias, [self.taps // 2 * len(bias)] * 2)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.taps == 1:
            return self.convolve(x, self.weight, self.bias)
        if self.join == "inputs":
            return self.convolve(torch.cat(self._shifted([x] * self.taps), 1), self.weight, self.bias)
        parts = self._shifted(self.convolve(x, self.weight, self.bias).chunk(self.taps, 1))
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def _shifted(self, parts: list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
        """Return each tap's pictures [B * D, C, H, W] moved to the depth that reads them, zeros beyond the ends."""
        shifted = []
        for tap, part in enumerate(parts):
            by = tap - self.taps // 2
            if not by:
                shifted.append(part)
                continue
            volume = part.reshape(-1, self.depth, *part.shape[1:])
            padding = (0, 0, 0, 0, 0, 0, max(-by, 0), max(by, 0))
            moved = F.pad(volume, padding)[:, max(by, 0) : self.depth + max(by, 0)]
            shifted.append(moved.flatten(0, 1))
        return shifted

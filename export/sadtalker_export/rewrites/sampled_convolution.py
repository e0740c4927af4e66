"""A volume sampled along a dense flow and read by a convolution of its slices, in two exact forms.

In the form of rows, the volume lies as a table of its pixels, all channels of a pixel in a row, and the eight
neighbours of a trilinear sample are eight rows of it. Processors copy whole rows faster than they gather single values,
and the result lies as the convolution reads it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.convolution import ConvNorm
from .folding import fold_norm
from .volume_sampling import sample_volume


class SampledConvolution(nn.Module):
    """Volume [B, C, D, H, W], flow [B, F, D, H, W, 3] -> features [B * F, C', H, W] of a block that reads C * D."""

    def __init__(self, block: ConvNorm) -> None:
        super().__init__()
        self.block = block

    def forward(self, volume: Tensor, flow: Tensor) -> Tensor:
        features: Tensor = self.block(sample_volume(volume, flow).flatten(0, 1).flatten(1, 2))
        return features


class RowSampledConvolution(nn.Module):
    """The same function as a `SampledConvolution` of volumes with `depth` slices, the volume read row by row."""

    def __init__(self, plain: SampledConvolution, depth: int) -> None:
        super().__init__()
        weight, bias = fold_norm(plain.block)
        by_slice = weight.detach().reshape(weight.shape[0], -1, depth, *weight.shape[2:]).transpose(1, 2)
        self.weight = nn.Parameter(by_slice.flatten(1, 2).clone(), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.slope, self.padding = plain.block.slope, weight.shape[-1] // 2

    def forward(self, volume: Tensor, flow: Tensor) -> Tensor:
        b, c, d, h, w = volume.shape
        table = F.pad(volume, (1,) * 6).permute(0, 2, 3, 4, 1).reshape(-1, c)  # a pixel of zeros around the volume
        strides = (1, w + 2, (h + 2) * (w + 2))
        sizes = flow.new_tensor((w, h, d))
        # All axes at once: an engine that leaves positions to another, as OpenVINO in bf16, changes over just once.
        position = (((flow.permute(0, 1, 3, 4, 2, 5).reshape(b, -1, 3) + 1) * sizes - 1) / 2).clamp(min=-1)
        position = torch.minimum(position, sizes)
        below = torch.minimum(position.floor(), sizes - 1)
        parts = (position - below).to(volume.dtype).reshape(-1, 3).unbind(1)
        pixel = below.to(torch.int32).clamp(min=-1)
        pixel = torch.minimum(pixel, (sizes - 1).to(torch.int32))  # inside, also where a position is not a number
        first = ((pixel + 1) * pixel.new_tensor(strides)).sum(-1, dtype=torch.int32)
        items = torch.arange(b, dtype=torch.int32, device=flow.device).unsqueeze(1)
        rows = [(first + items * ((d + 2) * strides[2])).reshape(-1)]
        for stride in reversed(strides):
            rows = [row + step for row in rows for step in (0, stride)]
        values = [table.index_select(0, row) for row in rows]
        for part in parts:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [low + (high - low) * part.unsqueeze(1) for low, high in pairs]
        warped = values[0].reshape(-1, h, w, d * c).permute(0, 3, 1, 2)
        return F.leaky_relu(F.conv2d(warped, self.weight, self.bias, padding=self.padding), self.slope)

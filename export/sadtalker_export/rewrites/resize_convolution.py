"""Nearest-neighbour upsampling followed by a 3-wide convolution, as one transposed convolution.

Neighbouring taps of the convolution see the same input pixel, so they add up: upsampling by s and a kernel of 3 are
together a transposed convolution of stride s and kernel s + 2. Per output pixel and axis it costs (s + 2) / s taps
instead of 3: 2 for s = 2, 1.5 for s = 4.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 3


class ResizeConvolution(nn.Module):
    """conv(repeat_pixels(x, factor)) for a 3-wide, 1-padded kernel over the last two or three axes.

    weight [out, in, 3, 3] or [out, in, 3, 3, 3]; depth, where there is one, is not repeated.
    """

    def __init__(self, weight: Tensor, bias: Tensor, factor: int) -> None:
        super().__init__()
        axes = weight.dim() - 2
        self.stride = (1,) * (axes - 2) + (factor, factor)
        for axis, stride in enumerate(self.stride, start=2):
            weight = torch.tensordot(weight, collapse(stride, weight), dims=([axis], [1])).movedim(-1, axis)
        self.weight = nn.Parameter(weight.transpose(0, 1).contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        transposed = F.conv_transpose2d if len(self.stride) == 2 else F.conv_transpose3d
        return transposed(x, self.weight, self.bias, self.stride, padding=1)


def collapse(factor: int, like: Tensor) -> Tensor:
    """Return which taps of the convolution make up each tap of the transposed one: [factor + 2, 3]."""
    t = torch.arange(factor + TAPS - 1).unsqueeze(1)
    k = torch.arange(TAPS)
    return ((k >= TAPS - 1 - t) & (k <= factor + 1 - t)).to(like)

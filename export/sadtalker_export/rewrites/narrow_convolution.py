"""A wide convolution with a single output channel, as one matrix product and a sum of shifted maps.

Convolution kernels keep the hardware busy across output channels, of which this one has none to spare. Its k x k taps
become the output channels of a 1x1 convolution instead; a fixed kernel of ones then adds each tap's map at its offset.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NarrowConvolution(nn.Module):
    """The same function as a same-padded Conv2d with one output channel: [B, C, H, W] -> [B, 1, H, W].

    A volume [B, C, D, H, W] is read as one of C * D channels.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        _, channels, size, _ = conv.weight.shape
        assert conv.bias is not None
        taps = conv.weight[0].flatten(1).T
        self.taps = nn.Parameter(taps.reshape(-1, channels, 1, 1).clone(), requires_grad=False)
        offsets = torch.eye(size * size).to(conv.weight).reshape(1, size * size, size, size)
        self.offsets = nn.Parameter(offsets, requires_grad=False)
        self.bias = nn.Parameter(conv.bias.clone(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            F.conv2d(x.flatten(1, -3), self.taps), self.offsets, self.bias, padding=self.offsets.shape[2] // 2
        )


class VolumeNarrowConvolution(nn.Module):
    """The same function as a `NarrowConvolution` of volumes with `depth` slices, which stay volumes.

    So the volume is read as the convolution before has written it, channels last.
    """

    def __init__(self, plain: NarrowConvolution, depth: int) -> None:
        super().__init__()
        taps, channels = plain.taps.shape[:2]
        volume = plain.taps.detach().reshape(taps, channels // depth, depth, 1, 1)
        self.taps = nn.Parameter(volume.clone(), requires_grad=False)
        self.offsets, self.bias = plain.offsets, plain.bias

    def forward(self, x: Tensor) -> Tensor:
        maps = F.conv3d(x, self.taps).squeeze(2)
        return F.conv2d(maps, self.offsets, self.bias, padding=self.offsets.shape[2] // 2)

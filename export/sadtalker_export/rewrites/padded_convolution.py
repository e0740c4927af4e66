"""A convolution with channels added until their number suits vector registers: the weights of those added are zero."""

import torch.nn.functional as F
from torch import Tensor, nn


class PaddedConvolution(nn.Module):
    """The same function as a same-padded Conv2d or Conv3d, of a `multiple` of channels in and out."""

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, multiple: int) -> None:
        super().__init__()
        weight, bias = conv.weight.detach(), conv.bias
        assert bias is not None
        self.channels = weight.shape[0]
        outputs, self.added = (-count % multiple for count in weight.shape[:2])
        sides = (0, 0) * (weight.dim() - 2)
        self.weight = nn.Parameter(F.pad(weight, (*sides, 0, self.added, 0, outputs)), requires_grad=False)
        self.bias = nn.Parameter(F.pad(bias.detach(), (0, outputs)), requires_grad=False)
        self.padding = weight.shape[-1] // 2

    def forward(self, x: Tensor) -> Tensor:
        axes = x.dim() - 2
        convolve = F.conv2d if axes == 2 else F.conv3d
        if self.added:
            x = F.pad(x, (*(0, 0) * axes, 0, self.added))
        return convolve(x, self.weight, self.bias, padding=self.padding)[:, : self.channels]

"""Batch normalisation folded into the convolution before it."""

import torch
from torch import Tensor, nn

from ..networks.convolution import ConvNorm

AnyConv = nn.Conv2d | nn.Conv3d


def fold_norm(block: ConvNorm) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one convolution that equals `block`'s convolution and batch normalisation."""
    conv, norm = block.conv, block.norm
    assert isinstance(conv, nn.Conv2d | nn.Conv3d) and isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    return fold(conv, norm)


def fold(conv: AnyConv, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """Return weight and bias of the one convolution that equals `norm(conv(x))`."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = torch.zeros_like(norm.bias) if conv.bias is None else conv.bias
    weight = conv.weight * scale.reshape(-1, *[1] * (conv.weight.dim() - 1))
    return weight, (bias - norm.running_mean) * scale + norm.bias

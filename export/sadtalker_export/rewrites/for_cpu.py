"""The renderer with fewer multiplications, for engines that do not find such algorithms themselves (on CPUs)."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..networks.convolution import ConvNorm
from ..networks.dense_motion import DenseMotion
from .folding import fold_norm
from .renderer import FastRenderer, UpConvNorm
from .sorted_axis import LongConvolution, Sort, SortedConvolution, SortedModulatedConvolution, SortedRepeat, Unsort
from .spade import FastSpadeBlock, FastSpadeDecoder, Modulation
from .winograd import TAPS, WinogradConvolution, WinogradModulation

WORTHWHILE = 128
"""Fewest channels at which a decoder's tiles or sorted rows save more than their memory traffic costs."""
WORTHWHILE_DEEP = 64
"""Fewest channels at which an hourglass on sorted depths does."""

Form = Callable[..., nn.Module]


def for_cpu(module: nn.Module, frames: int, precision: str = "fp32") -> nn.Module:
    """Return a copy of a module with a `FastRenderer` or `FastSpadeDecoder`, rewritten for a CPU.

    Items have `frames` frames, `precision` is fp32 or bf16. The decoder's convolutions work on tiles in fp32, which
    takes the fewest multiplications, and on sorted rows in bf16, which loses less. For the same reason the mask's 7
    taps are taken in pieces in bf16.
    """
    copied = copy.deepcopy(module)
    for part in list(copied.modules()):
        if isinstance(part, FastRenderer) and part.dense_motion.hourglass.channels_out >= WORTHWHILE_DEEP:
            _sort_depths(part, SortedConvolution if precision == "fp32" else LongConvolution)
        elif isinstance(part, FastSpadeDecoder):
            if precision == "fp32":
                _use_tiles(part)
                part.up[-1] = InParts(part.up[-1], frames)
            elif part.stem.in_channels >= WORTHWHILE:
                _sort_rows(part)
    return copied


class InParts(nn.Module):
    """A `Doubling` of so many parts of the batch in turn: the same function in less memory."""

    def __init__(self, doubling: nn.Module, parts: int) -> None:
        super().__init__()
        self.doubling, self.parts = doubling, parts

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        parts = (t.reshape(self.parts, -1, *t.shape[1:]).unbind() for t in (x, features))
        return torch.cat([self.doubling(*part) for part in zip(*parts, strict=True)])


def _sort_depths(renderer: FastRenderer, mask: Form) -> None:
    """Put the whole hourglass on sorted depths, and with it the mask that reads it."""
    motion: DenseMotion = renderer.dense_motion
    renderer.enter, renderer.leave = Sort(), Unsort()
    for block in motion.hourglass.modules():
        if isinstance(block, ConvNorm) and block.change != "up":
            conv = nn.Conv3d(1, 1, 3)
            conv.weight, conv.bias = (nn.Parameter(value, requires_grad=False) for value in fold_norm(block))
            block.add_module("conv", SortedConvolution(conv))
            block.add_module("norm", nn.Identity())
    for up in renderer.up:
        assert isinstance(up, UpConvNorm)
        up.add_module("conv", SortedConvolution(up.conv))
    if motion.mask.kernel_size[0] > 1:
        motion.add_module("mask", nn.Sequential(Sort(), mask(motion.mask), Unsort()))


def _sort_rows(decoder: FastSpadeDecoder) -> None:
    """Put the decoder on sorted rows, except the features that the doublings read and the last layer."""
    decoder.enter, decoder.leave = Sort(), Unsort()
    for name, conv in (("stem", decoder.stem), ("middle_shared", decoder.middle_shared)):
        decoder.add_module(name, SortedConvolution(conv))
    blocks = [(block, False) for block in decoder.middle] + [(doubling.block, True) for doubling in decoder.up]
    for block, natural in blocks:
        assert isinstance(block, FastSpadeBlock)
        for name, modulated in (("first", block.first), ("second", block.second)):
            block.add_module(name, SortedModulatedConvolution(modulated, reads_natural=natural))
        if block.learned_shortcut:
            for name, conv in (("skip_gamma", block.skip_gamma), ("skip_beta", block.skip_beta)):
                block.add_module(name, SortedConvolution(conv, reads_natural=natural))
        block.repeat = SortedRepeat()


def _use_tiles(module: nn.Module) -> None:
    """Replace the convolutions that are wide enough by convolutions on tiles."""
    for name, child in list(module.named_children()):
        if isinstance(child, Modulation) and _worthwhile(child.gamma):
            module.add_module(name, WinogradModulation(child))
        elif isinstance(child, nn.Conv2d) and _worthwhile(child):
            module.add_module(name, WinogradConvolution(child))
        else:
            _use_tiles(child)


def _worthwhile(conv: nn.Conv2d) -> bool:
    return conv.kernel_size == (TAPS, TAPS) and min(conv.in_channels, conv.out_channels) >= WORTHWHILE

"""The renderer in the forms that suit a processor: those of a portable list, or those that were measured there."""

import copy

import torch
from torch import Tensor, nn

from .forms import NATURAL, ROWS, SORTED, TILES, VOLUME
from .parts import Choice, Layer, Part, PartChoice, parts
from .renderer import FastRenderer
from .spade import FastSpadeDecoder, Modulation

WORTHWHILE = 128
"""Fewest channels at which a decoder's tiles or sorted rows save more than their memory traffic costs."""
WORTHWHILE_DEEP = 64
"""Fewest channels at which an hourglass on sorted depths does."""
NARROW = {"occlusion": {"occlusion": VOLUME}, "sampling": {"flatten": ROWS}}
"""Forms of a narrower one, by part."""


def for_cpu(module: nn.Module, frames: int, precision: str = "fp32", choice: Choice | None = None) -> nn.Module:
    """Return a copy of a module with a `FastRenderer` or `FastSpadeDecoder`, rewritten for a CPU.

    Items have `frames` frames, `precision` is fp32 or bf16, `choice` the forms of the layers (default: `portable`).
    Raises `ValueError` for a choice that does not fit the module.
    """
    copied = copy.deepcopy(module)
    chosen = portable(copied, precision) if choice is None else choice
    for part in parts(copied):
        part.apply(chosen.get(part.name, PartChoice()))
        if isinstance(part.module, FastRenderer) and precision == "bf16":
            part.module.decisions = Joined()
        if isinstance(part.module, FastSpadeDecoder) and precision == "fp32":
            part.module.up[-1] = InParts(part.module.up[-1], frames)
    return copied


def portable(module: nn.Module, precision: str) -> Choice:
    """Return the forms that pay on most processors.

    The decoder's convolutions work on tiles in fp32, which takes the fewest multiplications, and on sorted rows in
    bf16, which loses less. For the same reason the mask's 7 taps are taken in pieces in bf16. Narrow networks sample
    the volume row by row, which takes a large part of their time.
    """
    return {part.name: _portable(part, precision) for part in parts(module)}


def _portable(part: Part, precision: str) -> PartChoice:
    if isinstance(part.module, FastRenderer):
        if part.module.dense_motion.hourglass.channels_out < WORTHWHILE_DEEP:
            return PartChoice(NATURAL, NARROW.get(part.name, {}))
        if part.name in NARROW:
            return PartChoice()
        if part.name == "hourglass":
            return _all_sorted(part)
        deep = part.module.dense_motion.mask.kernel_size[0] > 1
        return PartChoice(NATURAL, {"mask": "sorted" if precision == "fp32" else "pieces"} if deep else {})
    assert isinstance(part.module, FastSpadeDecoder)
    if precision == "fp32":
        return PartChoice(NATURAL, {layer.name: TILES for layer in part.orders[NATURAL] if _worthwhile(layer)})
    return _all_sorted(part) if part.module.stem.in_channels >= WORTHWHILE else PartChoice()


def _all_sorted(part: Part) -> PartChoice:
    return PartChoice(SORTED, {layer.name: "sorted" for layer in part.orders[SORTED]})


def _worthwhile(layer: Layer) -> bool:
    conv = layer.plain.gamma if isinstance(layer.plain, Modulation) else layer.plain
    assert isinstance(conv, nn.Conv2d)
    return min(conv.in_channels, conv.out_channels) >= WORTHWHILE


class InParts(nn.Module):
    """A `Doubling` of so many parts of the batch in turn: the same function in less memory."""

    def __init__(self, doubling: nn.Module, parts: int) -> None:
        super().__init__()
        self.doubling, self.parts = doubling, parts

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        parts = (t.reshape(self.parts, -1, *t.shape[1:]).unbind() for t in (x, features))
        return torch.cat([self.doubling(*part) for part in zip(*parts, strict=True)])


class Joined(nn.Module):
    """Logits of the mask [B, K, D, H, W] and of the occlusion map [B, 1, H, W], the same, by way of one tensor.

    In bf16 what follows the mask is computed by another engine, in float64. So the occlusion map is made before the
    change, and the hourglass's features, many times as large, do not outlast it.
    """

    def forward(self, mask: Tensor, occlusion: Tensor) -> tuple[Tensor, Tensor]:
        joined = torch.cat([mask.flatten(1, 2), occlusion], 1)
        return joined[:, :-1].reshape(mask.shape), joined[:, -1:]

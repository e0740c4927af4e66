"""The parts of a renderer within which all maps have one order of pixels, and the layers in them that have forms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from ..networks.convolution import ConvNorm
from .flat_depth import Flatten, Unflatten
from .folding import fold_norm
from .forms import FLAT, FORMS, NATURAL, PLAIN, SORTED, has_tiles
from .renderer import FastRenderer, UpConvNorm
from .resize_convolution import ResizeConvolution
from .sorted_axis import Sort, SortedRepeat, Unsort
from .spade import FastSpadeBlock, FastSpadeDecoder, ModulatedConvolution, Modulation


@dataclass(frozen=True)
class Layer:
    """A layer with more than one form: where it is, what it is, and its `plain` form with folded weights.

    `calls` is the module whose inputs are the layer's, where it is not the plain form itself.
    """

    name: str
    kind: str
    plain: nn.Module
    holder: nn.Module
    attribute: str
    calls: nn.Module
    reads_natural: bool = False
    positions: tuple[int, ...] = ()
    """Those of its inputs, by number, that are positions: bf16 must not round them."""

    def build(self, order: str, form: str, depth: int) -> nn.Module:
        """Return the layer in a form. Raises `KeyError` for one that its kind does not have."""
        return FORMS[self.kind][order][form](self.plain, depth=depth, reads_natural=self.reads_natural)

    def install(self, order: str, form: str, depth: int) -> None:
        """Put a form in the layer's place; the plain one stays as it is."""
        if form == PLAIN:
            return
        self.holder.add_module(self.attribute, self.build(order, form, depth))
        if isinstance(self.holder, ConvNorm):  # its normalisation is folded into the weights
            self.holder.add_module("norm", nn.Identity())
            if order == FLAT:
                self.holder.dims = 2


@dataclass(frozen=True)
class PartChoice:
    """The order of a part's maps, and the forms of its layers by name."""

    order: str = NATURAL
    forms: Mapping[str, str] = field(default_factory=dict)


Choice = Mapping[str, PartChoice]
"""Name of a part -> what was chosen for it; the parts that it leaves out stay plain."""


def described(choice: Choice) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return a choice as plain values, equal for choices that are."""
    return [(name, part.order, sorted(part.forms.items())) for name, part in sorted(choice.items())]


@dataclass(frozen=True)
class Part:
    """A part of a network: its layers, by the order that all of them have to keep."""

    name: str
    module: nn.Module
    orders: Mapping[str, tuple[Layer, ...]]
    depth: int

    def apply(self, choice: PartChoice) -> None:
        """Rewrite the part in place. Raises `ValueError` for an order or a form that does not exist."""
        if choice.order not in self.orders:
            raise ValueError(f"{self.name}: no order {choice.order!r}, expected {' or '.join(self.orders)}")
        layers = {layer.name: layer for layer in self.orders[choice.order]}
        if unknown := choice.forms.keys() - layers.keys():
            raise ValueError(f"{self.name}: no layer {min(unknown)!r} in {choice.order} order")
        if choice.order != NATURAL and (missing := layers.keys() - choice.forms.keys()):
            raise ValueError(f"{self.name}: no form for {min(missing)!r}, and a plain one has no {choice.order} order")
        for name, form in choice.forms.items():
            if form not in FORMS[layers[name].kind][choice.order]:
                raise ValueError(f"{self.name}: {name} has no form {form!r} in {choice.order} order")
        if isinstance(self.module, FastRenderer) and self.name == "hourglass":
            if choice.order == SORTED:
                self.module.enter, self.module.leave = Sort(), Unsort()
            elif choice.order == FLAT:
                self.module.enter, self.module.leave = Flatten(), Unflatten(self.depth)
        elif isinstance(self.module, FastSpadeDecoder) and choice.order == SORTED:
            self.module.enter, self.module.leave = Sort(), Unsort()
            for block in self.module.modules():
                if isinstance(block, FastSpadeBlock):
                    block.repeat = SortedRepeat()
        for name, form in choice.forms.items():
            layers[name].install(choice.order, form, self.depth)


def parts(module: nn.Module) -> list[Part]:
    """Return the parts of a module that holds a `FastRenderer`, or a `FastSpadeDecoder` alone."""
    found = []
    for part in module.modules():
        if isinstance(part, FastRenderer):
            depth = part.dense_motion.depth
            hourglass = tuple(_hourglass(part))
            found.append(Part("hourglass", part, dict.fromkeys((NATURAL, SORTED, FLAT), hourglass), depth))
            mask = part.dense_motion.mask
            layer = Layer("mask", "mask", mask, part.dense_motion, "mask", mask)
            found.append(Part("mask", part, {NATURAL: (layer,)}, depth))
            layer = Layer("occlusion", "occlusion", part.occlusion, part, "occlusion", part.occlusion)
            found.append(Part("occlusion", part, {NATURAL: (layer,)}, depth))
            sampled = part.flatten
            layer = Layer("flatten", "sampled convolution", sampled, part, "flatten", sampled, positions=(1,))
            found.append(Part("sampling", part, {NATURAL: (layer,)}, depth))
        elif isinstance(part, FastSpadeDecoder):
            orders = {NATURAL: tuple(_pictures(part, "")), SORTED: tuple(_sorted_rows(part))}
            found.append(Part("decoder", part, orders, 0))
    return found


def _hourglass(renderer: FastRenderer) -> Iterator[Layer]:
    """Return the convolutions of the hourglass, in the order in which they are called."""
    hourglass = renderer.dense_motion.hourglass
    blocks = {f"down.{i}": block for i, block in enumerate(hourglass.down)}
    for name, block in (*blocks.items(), ("merge", hourglass.merge)):
        assert isinstance(block, ConvNorm)
        weight, bias = fold_norm(block)
        conv = nn.Conv3d(1, 1, weight.shape[2], padding=weight.shape[2] // 2)
        conv.weight, conv.bias = nn.Parameter(weight.detach(), False), nn.Parameter(bias.detach(), False)
        conv.out_channels, conv.in_channels = weight.shape[:2]
        yield Layer(name, "volume convolution", conv, block, "conv", block)
    for i, up in enumerate(renderer.up):
        assert isinstance(up, UpConvNorm) and isinstance(up.conv, ResizeConvolution)
        yield Layer(f"up.{i}", "volume doubling", up.conv, up, "conv", up)


def _pictures(module: nn.Module, path: str) -> Iterator[Layer]:
    """Return the convolutions and modulations of pictures in natural order."""
    for name, child in module.named_children():
        if isinstance(child, Modulation) and has_tiles(child.gamma):
            yield Layer(f"{path}{name}", "modulation", child, module, name, child)
        elif isinstance(child, nn.Conv2d):
            if has_tiles(child):
                yield Layer(f"{path}{name}", "convolution", child, module, name, child)
        else:
            yield from _pictures(child, f"{path}{name}.")


def _sorted_rows(decoder: FastSpadeDecoder) -> Iterator[Layer]:
    """Return the layers that work on sorted rows: all but the features that the doublings read and the last layer."""
    for name in ("stem", "middle_shared"):
        conv = getattr(decoder, name)
        yield Layer(name, "convolution", conv, decoder, name, conv)
    blocks: list[tuple[str, object, bool]] = [(f"middle.{i}", block, False) for i, block in enumerate(decoder.middle)]
    blocks += [(f"up.{i}.block", doubling.block, True) for i, doubling in enumerate(decoder.up)]
    for path, block, natural in blocks:
        assert isinstance(block, FastSpadeBlock)
        for name, modulated in (("first", block.first), ("second", block.second)):
            assert isinstance(modulated, ModulatedConvolution)
            yield Layer(f"{path}.{name}", "modulated convolution", modulated, block, name, modulated, natural)
        if block.learned_shortcut:
            for name, conv in (("skip_gamma", block.skip_gamma), ("skip_beta", block.skip_beta)):
                yield Layer(f"{path}.{name}", "convolution", conv, block, name, conv, natural)

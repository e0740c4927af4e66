"""The layers of a network that have forms, with the shapes that they meet and the words that name them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..rewrites.flat_depth import Flatten, Unflatten
from ..rewrites.forms import FLAT, FORMS, SORTED
from ..rewrites.parts import Layer, Part, parts
from ..rewrites.sorted_axis import Sort, Unsort
from ..specs import NetworkSpec

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Met:
    """A layer in one order of its part, with the shapes of its inputs in natural order, for one item."""

    layer: Layer
    part: Part
    order: str
    shapes: tuple[Shape, ...]

    @property
    def description(self) -> str:
        """Return the layer in words: layers with the same description take the same time."""
        weights = ", ".join(_times(p.shape) for p in self.layer.plain.parameters() if p.dim() > 1)
        inputs = " and ".join(map(_times, self.shapes))
        natural = ", read in natural order" if self.layer.reads_natural else ""
        return f"{self.layer.kind} {weights} on {inputs}{natural}"

    @property
    def forms(self) -> list[str]:
        """Return the names of the forms that this order has."""
        return list(FORMS[self.layer.kind][self.order])

    @property
    def arithmetic(self) -> float:
        """Return a measure of the plain form's multiplications, to begin with the largest layers."""
        pixels = max(torch.Size(shape[2:]).numel() * shape[0] for shape in self.shapes)
        return float(sum(p.numel() for p in self.layer.plain.parameters()) * pixels)

    def enter(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return inputs in natural order as the layer reads them in its order."""
        if self.order == SORTED:
            last = len(inputs) - 1
            return [x if self.layer.reads_natural and i == last else Sort()(x) for i, x in enumerate(inputs)]
        return [Flatten()(x) for x in inputs] if self.order == FLAT else list(inputs)

    def leave(self, output: Tensor) -> Tensor:
        """Return an output of the layer in natural order."""
        if self.order == SORTED:
            back: Tensor = Unsort()(output)
            return back
        return Unflatten(self.part.depth)(output) if self.order == FLAT else output


def met_layers(spec: NetworkSpec, module: nn.Module) -> list[Met]:
    """Return every layer of every order of a module's parts."""
    shapes = _input_shapes(spec, module)
    return [
        Met(layer, part, order, shapes[part.name, layer.name])
        for part in parts(module)
        for order, layers in part.orders.items()
        for layer in layers
    ]


def _input_shapes(spec: NetworkSpec, module: nn.Module) -> dict[tuple[str, str], tuple[Shape, ...]]:
    """Return the shapes of every layer's inputs, found on a copy that has shapes alone."""
    shadow = copy.deepcopy(module).to("meta")
    found: dict[tuple[str, str], tuple[Shape, ...]] = {}

    def note(key: tuple[str, str]) -> object:
        return lambda _, inputs: found.__setitem__(key, tuple(tuple(x.shape) for x in inputs if x.dim() > 2))

    for part in parts(shadow):
        for layers in part.orders.values():
            for layer in layers:
                layer.calls.register_forward_pre_hook(note((part.name, layer.name)))  # type: ignore[arg-type]
    inputs = [
        torch.empty(1, *tensor.shape, dtype=getattr(torch, tensor.dtype), device="meta") for tensor in spec.inputs
    ]
    with torch.no_grad():
        shadow(*inputs)
    return found


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))

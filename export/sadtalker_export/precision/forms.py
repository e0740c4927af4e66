"""Reduced precision written into a network itself, so that every engine computes the exported graph in it.

Positions (keypoints, shifts, grids, flows), decisions (softmax, sigmoid) and statistics (normalisations) keep more
digits, because frames suffer without them. A network's spec declares which of its parts may lose digits and which of
its inputs are positions; the operations that keep them are listed here. Inputs and outputs keep their types.
"""

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..networks.convolution import ConvNorm
from ..rewrites.folding import fold_norm
from ..rewrites.parts import Choice
from ..specs import NetworkSpec

Operation = Callable[..., Any]

# These compute in the narrowest precision of their operands: activations in that of the weights, and features in
# their own where a position weighs or moves them.
NARROWING: tuple[Operation, ...] = (
    *(F.conv2d, F.conv3d, F.conv_transpose2d, F.conv_transpose3d, F.grid_sample),
    *(torch.cat, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mul, Tensor.mul, Tensor.__mul__),
)
STATISTICS: tuple[Operation, ...] = (F.instance_norm, F.batch_norm)
DECISIONS: tuple[Operation, ...] = (F.softmax, torch.sigmoid)
POSITIONS: tuple[Operation, ...] = (torch.linspace, torch.einsum, torch.functional.einsum, torch.sum, Tensor.sum)


class HalfPrecision(nn.Module):
    """A copy of `module` with the named parts in float16 and everything else in float32.

    The parts' batch normalisations are folded into the convolutions before them, in float32, or stay in float32: a
    small variance would underflow.
    """

    def __init__(self, module: nn.Module, parts: Iterable[str]) -> None:
        super().__init__()
        self.module = copy.deepcopy(module).eval()
        for path in parts:
            for child in self.module.get_submodule(path).modules():
                if isinstance(child, ConvNorm):
                    weight, bias = fold_norm(child)
                    child.conv.weight, child.conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
                    child.add_module("norm", nn.Identity())
                if not isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                    for parameter in child.parameters(recurse=False):
                        parameter.data = parameter.data.half()

    def forward(self, *inputs: Tensor) -> Any:
        with _Policy(torch.float16, torch.float32, wide=(*DECISIONS, *POSITIONS), same_type=STATISTICS):
            outputs = self.module(*inputs)
        return tuple(o.float() for o in outputs) if isinstance(outputs, tuple) else _cast(outputs, torch.float32)


class DoublePositions(nn.Module):
    """A form of `module` with positions in float64: its `position_inputs`, and what is computed from them.

    `names` are all inputs, in order. OpenVINO in bf16 brings all of float32 to bf16, grids included, but leaves float64
    to ONNX Runtime.
    """

    def __init__(self, module: nn.Module, names: Iterable[str], position_inputs: Collection[str]) -> None:
        super().__init__()
        self.module = module
        self.is_position = [name in position_inputs for name in names]

    def forward(self, *inputs: Tensor) -> Any:
        converted = [x.double() if wide else x for x, wide in zip(inputs, self.is_position, strict=True)]
        with _Policy(torch.float32, torch.float64, wide=POSITIONS):
            return self.module(*converted)


class _Policy(TorchFunctionMode):
    """The precision of the operations where it matters; the others follow PyTorch's type promotion.

    Operations in `wide` compute with `narrow` operands brought to `widened`, and return `widened`; those in `same_type`
    compute likewise, but return the type of their first operand.
    """

    def __init__(
        self,
        narrow: torch.dtype,
        widened: torch.dtype,
        *,
        wide: tuple[Operation, ...],
        same_type: tuple[Operation, ...] = (),
    ) -> None:
        super().__init__()
        self.narrow, self.widened, self.wide, self.same_type = narrow, widened, wide, same_type

    def __torch_function__(
        self, func: Operation, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in NARROWING:
            dtypes = {x.dtype for x in _tensors(args) if x.is_floating_point()}
            if len(dtypes) > 1:
                args = _cast(args, min(dtypes, key=lambda dtype: dtype.itemsize))
            return func(*args, **kwargs)
        if func in self.wide:
            return func(*self._widen(args), **{key: self._widen(value) for key, value in kwargs.items()})
        if func in self.same_type:
            return func(*self._widen(args), **kwargs).to(args[0].dtype)
        return func(*args, **kwargs)

    def _widen(self, value: Any) -> Any:
        return _cast(value, self.widened, only=self.narrow)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)


def _cast(value: Any, dtype: torch.dtype, only: torch.dtype | None = None) -> Any:
    """Cast the floating-point tensors of `value` to `dtype`; given `only`, just those of that type, and the type."""
    if isinstance(value, tuple | list):
        return type(value)(_cast(item, dtype, only) for item in value)
    if isinstance(value, Tensor) and value.is_floating_point() and only in (None, value.dtype):
        return value.to(dtype)
    return dtype if only is not None and value is only else value


def in_precision(
    spec: NetworkSpec, module: nn.Module, precision: str, choice: Choice | None = None
) -> tuple[nn.Module, float]:
    """Return the module as it is exported in a precision, and the tolerance of that file against the module itself.

    `choice` has the forms of layers that a processor shall have; the default is the portable ones.
    """
    if precision == "fp16" and spec.half:
        return HalfPrecision(module, spec.half), spec.half_tolerance
    if precision == "bf16" and spec.position_inputs:
        module = spec.for_cpu(module, precision, choice) if spec.for_cpu else module
        return DoublePositions(module, [t.name for t in spec.inputs], spec.position_inputs), spec.tolerance
    if precision == "fp32" and spec.for_cpu:
        return spec.for_cpu(module, precision, choice), spec.tolerance
    return module, spec.tolerance

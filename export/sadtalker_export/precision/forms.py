"""Precision written into a network itself, so that whatever runs the exported graph computes in it.

What loses quality in few digits keeps more of them: places (keypoints, shifts, grids, flows), decisions (softmax,
sigmoid) and statistics (normalisations). Which part of a network may lose digits, and which of its inputs are places,
its spec declares; the operations that keep them are listed here. Inputs and outputs keep their types.
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
from ..specs import NetworkSpec

Operation = Callable[..., Any]

# What meets here continues in the narrowest precision of the operands: activations in that of the weights, features
# that a place weighs or moves in that of the features.
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
    """`module` with the named inputs (`names` are all of them, in order), and what they place, in float64.

    For OpenVINO in bf16: that brings all of float32 to bf16, grids included, and ONNX Runtime runs float64 itself.
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
    """Decides the precision of the operations where it matters; the others follow PyTorch's type promotion.

    `wide` operations take `narrow` operands in `widened` and answer in it; those `inside` answer as they were asked.
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
    """`value` with its floating-point tensors as `dtype`; given `only`, just those of that type and the type itself."""
    if isinstance(value, tuple | list):
        return type(value)(_cast(item, dtype, only) for item in value)
    if isinstance(value, Tensor) and value.is_floating_point() and only in (None, value.dtype):
        return value.to(dtype)
    return dtype if only is not None and value is only else value


def in_precision(spec: NetworkSpec, module: nn.Module, precision: str) -> tuple[nn.Module, float]:
    """The module as it is exported in a precision, and how far that file may be from the module itself."""
    if precision == "fp16" and spec.half:
        return HalfPrecision(module, spec.half), spec.half_tolerance
    if precision == "bf16" and spec.position_inputs:
        module = spec.for_cpu(module, precision) if spec.for_cpu else module
        return DoublePositions(module, [t.name for t in spec.inputs], spec.position_inputs), spec.tolerance
    if precision == "fp32" and spec.for_cpu:
        return spec.for_cpu(module, precision), spec.tolerance
    return module, spec.tolerance

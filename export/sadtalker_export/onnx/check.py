"""The check that an ONNX file computes the same as its PyTorch module."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from ..errors import CheckFailedError
from ..specs import NetworkSpec
from .graph import sample


class ExportError(CheckFailedError):
    """An exported network whose outputs differ from those of its PyTorch form."""


def check(spec: NetworkSpec, module: nn.Module, path: Path, tolerance: float | None = None) -> None:
    """Raise `ExportError` unless the file agrees with the module within the tolerance (default: the spec's).

    A network that chooses may choose differently where rounding decides: its spec has several `samples`, and one that
    agrees suffices.
    """
    tolerance = spec.tolerance if tolerance is None else tolerance
    for number in range(spec.samples - 1):
        with suppress(ExportError):
            _check(spec, module, path, tolerance, number)
            return
    _check(spec, module, path, tolerance, spec.samples - 1)


def _check(spec: NetworkSpec, module: nn.Module, path: Path, tolerance: float, number: int) -> None:
    arrays = {t.name: sample(spec, t, 1, number) for t in spec.inputs}
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(a) for a in arrays.values()))
    expected = [t.numpy() for t in (outputs if isinstance(outputs, tuple) else (outputs,))]
    actual = session(path).run([t.name for t in spec.outputs], arrays)
    for tensor, want, got in zip(spec.outputs, expected, actual, strict=True):
        if got.shape != want.shape or got.dtype != want.dtype:
            raise ExportError(
                f"{spec.name}.{tensor.name}: expected {want.dtype}{want.shape}, got {got.dtype}{got.shape}"
            )
        error = float(np.abs(want.astype(np.float64) - got.astype(np.float64)).max())
        if not error <= tolerance:
            raise ExportError(f"{spec.name}.{tensor.name}: differs from PyTorch by {error:g}, tolerance {tolerance:g}")


def session(path: Path) -> onnxruntime.InferenceSession:
    """Return an ONNX Runtime session on the CPU, set up to take little memory rather than little time."""
    options = onnxruntime.SessionOptions()
    options.enable_mem_pattern = options.enable_cpu_mem_arena = False  # they ask for 28 GB for the official renderer
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

"""Engines that run a network in single or in reduced precision, for `sadtalker-export precision`.

bf16 runs the exported graphs in OpenVINO. fp16 is computed here as tensor cores do, every result rounded to float16 and
sums in float32: ONNX Runtime on a CPU would leave out roundings between operations.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ..errors import UsageError
from ..onnx.graph import export
from ..specs import NetworkSpec
from .forms import in_precision

Networks = Mapping[str, nn.Module]
Specs = Mapping[str, NetworkSpec]
Engine = Callable[[str, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""A function from a network's name and inputs to its outputs."""


def eager(networks: Networks, specs: Specs) -> Engine:
    """Return PyTorch in float32."""
    modules = {name: spec.build(networks).eval() for name, spec in specs.items()}
    return lambda name, inputs: _outputs(modules[name](*inputs))


def half(networks: Networks, specs: Specs, _: Path | None = None) -> Engine:
    """Return the modules of an fp16 export, each result rounded to float16."""
    modules = {name: in_precision(spec, spec.build(networks), "fp16")[0] for name, spec in specs.items()}

    def engine(name: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with RoundEachResult():  # type: ignore[no-untyped-call]
            return _outputs(modules[name](*inputs))

    return engine


def bfloat(networks: Networks, specs: Specs, folder: Path) -> Engine:
    """Return the files of a bf16 export, run as `configs/bf16.pbtxt` has them run."""
    sessions = {}
    for name, spec in specs.items():
        path = folder / f"{name}.onnx"
        export(spec, in_precision(spec, spec.build(networks), "bf16")[0], path)
        sessions[name] = openvino_session(path, "bf16")
    return lambda name, inputs: _run(sessions[name], specs[name], inputs)


def openvino_session(path: Path, precision: str) -> onnxruntime.InferenceSession:
    """Return a session in OpenVINO on the CPU; all but 8-bit layers compute in `bf16` or `f32`."""
    provider = "OpenVINOExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise UsageError("expected the package onnxruntime-openvino, found an onnxruntime without OpenVINO")
    settings = json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": "1"}})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = [(provider, {"device_type": "CPU", "load_config": settings})]
    return onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)


def session_engine(networks: Networks, specs: Specs, name: str, session: onnxruntime.InferenceSession) -> Engine:
    """Return an engine that runs the network `name` in a session, and the others in PyTorch in float32."""
    others = eager(networks, {other: spec for other, spec in specs.items() if other != name})
    return lambda asked, inputs: _run(session, specs[name], inputs) if asked == name else others(asked, inputs)


ENGINES: dict[str, Callable[[Networks, Specs, Path], Engine]] = {"fp16": half, "bf16": bfloat}
"""Precision -> maker of its engine; the folder is for files that the engine needs."""


class RoundEachResult(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode in which operations on float16 compute in float32 and round their float16 results once.

    Tensor cores do the same. PyTorch has no float16 kernels on a CPU for some of the operations, and slow ones for
    others.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        dtypes = {x.dtype for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.is_floating_point()}
        if torch.float16 not in dtypes or func._overloadpacket is torch.ops.aten._to_copy:
            return func(*args, **kwargs)
        answer = func(*tree_map(_single, args), **tree_map(_single, kwargs))
        return tree_map(_half, answer) if dtypes == {torch.float16} else answer


def _run(session: onnxruntime.InferenceSession, spec: NetworkSpec, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    feed = {tensor.name: value.numpy() for tensor, value in zip(spec.inputs, inputs, strict=True)}
    return tuple(map(torch.from_numpy, session.run([tensor.name for tensor in spec.outputs], feed)))


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _half(value: Any) -> Any:
    return value.half() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def _outputs(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)

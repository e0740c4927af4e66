"""One network as one ONNX file."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from sadtalker_runtime.manifest import METADATA
from torch import nn

from ..checkpoint import synthetic
from ..precision.forms import DoublePositions, HalfPrecision
from ..specs import NetworkSpec, TensorSpec

OPSET = 18  # from 20 on GridSample spells its mode in a way that OpenVINO 2025 does not read


def export(spec: NetworkSpec, module: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write one network as one ONNX file; axis 0 of every tensor is the dynamic axis `batch`."""
    inputs = tuple(torch.from_numpy(sample(spec, tensor, 2)) for tensor in spec.inputs)
    batch = torch.export.Dim("batch", min=1, max=1024)
    shapes: tuple[object, ...] = tuple({0: batch} for _ in spec.inputs)
    if isinstance(module, HalfPrecision | DoublePositions):
        shapes = (shapes,)  # their forward takes *inputs
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns for every network that torchvision is missing
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=[t.name for t in spec.inputs],
            output_names=[t.name for t in spec.outputs],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for tensor in (*model.graph.input, *model.graph.output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
    _remove_notes(model)
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=METADATA + key, value=value)
    onnx.save(model, path)


def _remove_notes(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes on its work: stack traces, which name folders of this machine, and its own terms."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]


def export_module(module: nn.Module, inputs: tuple[torch.Tensor, ...], path: Path, names: list[str]) -> None:
    """Write a module as an ONNX file whose inputs have these fixed shapes and names."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), inputs, dynamo=True, opset_version=OPSET, input_names=names, verbose=False
        )
    assert program is not None
    onnx.save(program.model_proto, path)


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata that `export` recorded in a file, by key; empty for a file from elsewhere."""
    model = onnx.load(path, load_external_data=False)
    return {p.key.removeprefix(METADATA): p.value for p in model.metadata_props if p.key.startswith(METADATA)}


def sample(spec: NetworkSpec, tensor: TensorSpec, batch: int, number: int = 0) -> npt.NDArray[np.generic]:
    """Return deterministic values for one input: [batch, *shape]; every number has its own."""
    name = f"{spec.name}.{tensor.name}" + (f".{number}" if number else "")
    values = synthetic.named_input(name, (batch, *tensor.shape), tensor.low, tensor.high)
    return values.astype(tensor.dtype)

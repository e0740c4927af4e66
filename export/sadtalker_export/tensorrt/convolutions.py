"""The precision of convolutions, in a graph and in the engine that was built from it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from .engine import Layer

_CONVOLUTION = re.compile("conv|correlation", re.IGNORECASE)  # inside fused regions TensorRT calls it correlation
_HALF = re.compile("half|fp16", re.IGNORECASE)


@dataclass(frozen=True)
class Convolutions:
    """The number of convolutions, and of those that compute in half precision."""

    half: int
    total: int

    @property
    def share(self) -> float:
        return self.half / self.total if self.total else 0.0

    def __str__(self) -> str:
        return f"{self.half} of {self.total}"


def of_graph(path: Path) -> Convolutions:
    """Count the convolutions of an ONNX file."""
    graph = onnx.load(path, load_external_data=False).graph
    half = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return Convolutions(sum(node.input[1] in half for node in nodes), len(nodes))


def of_engine(layers: Sequence[Layer]) -> Convolutions:
    """Count the convolutions of an engine in its inspector's output, or all layers if that names none."""
    found = [layer for layer in layers if _CONVOLUTION.search(_text(layer, "LayerType", "ParameterType"))] or layers
    return Convolutions(sum(_is_half(layer) for layer in found), len(found))


def mismatch(name: str, graph: Convolutions, engine: Convolutions) -> str | None:
    """Return a warning if a half-precision graph seems to have become a single-precision engine, else None.

    Engines are strongly typed, so a low share means a fusion that the inspector describes in another way rather than
    lost precision. Fusion merges layers: an engine with half of the graph's share gives no warning.
    """
    if engine.share >= graph.share / 2:
        return None
    return (
        f"{name}: the graph has {graph} convolutions in half precision, the engine's inspector tells of {engine}; "
        "compare its speed with the fp16 figures"
    )


def _is_half(layer: Layer) -> bool:
    weights = layer.get("Weights")
    if isinstance(weights, dict) and "Type" in weights:
        return bool(_HALF.search(str(weights["Type"])))
    tensors = [*layer.get("Inputs", ()), *layer.get("Outputs", ())]
    # TensorRT 10 has one field for format and type, 11 has two
    return any(_HALF.search(_text(tensor, "Format/Datatype", "Format", "DataType")) for tensor in tensors)


def _text(entry: Layer, *keys: str) -> str:
    return " ".join(str(entry.get(key, "")) for key in keys)

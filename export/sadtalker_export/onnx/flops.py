"""The arithmetic of exported graphs, counted node by node."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import shape_inference


def count(path: Path) -> Counter[str]:
    """Count the floating-point operations of every convolution and matrix product, by node name, at batch size 1.

    A multiplication and an addition count as two. Element-wise work is left out: it costs bandwidth, not arithmetic.
    """
    model = onnx.load(path)
    for tensor in (*model.graph.input, *model.graph.output):
        if tensor.type.tensor_type.shape.dim[0].dim_param:
            tensor.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]  # the exporter's own, in terms of the batch size
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    counts: Counter[str] = Counter()
    for node in graph.node:
        if rule := _RULES.get(node.op_type):
            used = [shapes[name] for name in node.input if name]
            if not all(all(shape) for shape in used):
                raise ValueError(f"{path}: the shapes of {node.name} are not known")
            counts[node.name] += rule(used, shapes[node.output[0]])
    return counts


def _conv(inputs: list[list[int]], output: list[int]) -> int:
    return 2 * math.prod(output) * math.prod(inputs[1][1:])


def _transposed(inputs: list[list[int]], _: list[int]) -> int:
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _matmul(inputs: list[list[int]], output: list[int]) -> int:
    return 2 * math.prod(output) * inputs[0][-1]


def _gemm(inputs: list[list[int]], output: list[int]) -> int:
    return 2 * math.prod(output) * math.prod(inputs[0]) // output[0]


_RULES: dict[str, Callable[[list[list[int]], list[int]], int]] = {
    "Conv": _conv,
    "ConvTranspose": _transposed,
    "MatMul": _matmul,
    "Gemm": _gemm,
}

"""The nodes of an ONNX graph that TensorRT refuses, found by a table, without a GPU.

`operators.json` names its sources. Of an operator it says which `types` the parameters of its ONNX schema may
have (`parameters`; where absent that of the first input), which `rank` its first input, which values its `attributes`,
which inputs must be `constant`, and how many `outputs` it may have. `boundary` types are those of a network's inputs
and outputs only: nothing but a cast to or from one of `cast_with` may touch them.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import defs, helper, shape_inference

TABLE = Path(__file__).with_name("operators.json")


def refusals(path: Path) -> list[str]:
    """Return one sentence per reason why TensorRT would not take the graph in the file; empty if it would."""
    model = shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    return list(_Graph(model).refusals())


@cache
def table() -> dict[str, Any]:
    """Return the content of `operators.json`."""
    loaded: dict[str, Any] = json.loads(TABLE.read_text())
    return loaded


class _Graph:
    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.nodes = graph.node
        self.opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
        self.constants = {t.name for t in graph.initializer}
        self.boundary = {v.name for v in (*graph.input, *graph.output)}
        self.types = {t.name: t.data_type for t in graph.initializer}
        self.ranks = {t.name: len(t.dims) for t in graph.initializer}
        for value in (*graph.input, *graph.value_info, *graph.output):
            self.types[value.name] = value.type.tensor_type.elem_type
            self.ranks[value.name] = len(value.type.tensor_type.shape.dim)

    def refusals(self) -> Iterator[str]:
        low, high = table()["opset"]
        if not low <= self.opset <= high:
            yield f"opset {self.opset}: TensorRT {table()['tensorrt']} reads {low} to {high}"
        for name, rank in self.ranks.items():
            if rank > table()["max_rank"]:
                yield f"{name}: rank {rank}, at most {table()['max_rank']}"
        for node in self.nodes:
            for reason in self._node(node):
                yield f"{node.op_type} {node.name}: {reason}"

    def _node(self, node: onnx.NodeProto) -> Iterator[str]:
        rule = table()["operators"].get(node.op_type)
        if node.domain not in ("", "ai.onnx") or rule is None:
            yield "no such operator"
            return
        yield from self._node_types(node, rule)
        yield from self._boundary(node)
        if "rank" in rule:
            low, high = rule["rank"]
            rank = self.ranks[node.input[0]]
            if not low <= rank <= high:
                yield f"input of rank {rank}, expected {low if low == high else f'{low} to {high}'}"
        for attribute in node.attribute:
            allowed = rule.get("attributes", {}).get(attribute.name)
            if allowed is not None:
                value = helper.get_attribute_value(attribute)
                for item in value if isinstance(value, list) else [value]:
                    item = item.decode() if isinstance(item, bytes) else item
                    if item not in allowed:
                        yield f"{attribute.name} {item}, expected {' or '.join(map(str, allowed))}"
        for index in rule.get("constant", ()):
            if index < len(node.input) and node.input[index] and node.input[index] not in self.constants:
                yield f"input {index} must be constant"
        if len(node.output) > rule.get("outputs", len(node.output)):
            yield f"{len(node.output)} outputs, at most {rule['outputs']}"

    def _node_types(self, node: onnx.NodeProto, rule: dict[str, Any]) -> Iterator[str]:
        schema = defs.get_schema(node.op_type, self.opset)
        parameters = rule.get("parameters", [schema.inputs[0].type_str])
        tensors = (*_parameters(schema.inputs, node.input), *_parameters(schema.outputs, node.output))
        for name, parameter in tensors:
            if parameter in parameters and (kind := self._type(name)) not in rule["types"]:
                yield f"{name} is {kind}, expected {' or '.join(rule['types'])}"

    def _boundary(self, node: onnx.NodeProto) -> Iterator[str]:
        types, cast_with = table()["boundary"]["types"], table()["boundary"]["cast_with"]
        names = [name for name in (*node.input, *node.output) if name]
        inner = [name for name in names if self._type(name) in types and name not in self.boundary]
        for name in inner:
            yield f"{name} is {self._type(name)}, which only a network's inputs and outputs may be"
        if node.op_type == "Cast" and any(self._type(name) in types for name in names):
            other = next((self._type(name) for name in names if self._type(name) not in types), None)
            if other not in cast_with:
                yield f"cast between {' and '.join(map(self._type, names))}, expected {' or '.join(cast_with)}"

    def _type(self, name: str) -> str:
        kind = self.types.get(name, onnx.TensorProto.UNDEFINED)
        return "of unknown type" if kind == onnx.TensorProto.UNDEFINED else str(onnx.TensorProto.DataType.Name(kind))


def _parameters(formal: Any, names: Any) -> Iterator[tuple[str, str]]:
    """Yield the tensors that are given, each with its type parameter; the last formal one may stand for many."""
    for index, name in enumerate(names):
        if name:
            yield name, formal[min(index, len(formal) - 1)].type_str

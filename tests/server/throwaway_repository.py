"""Writes small model repositories: ONNX graphs of a few nodes and their Triton configurations."""

import hashlib
import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

WIDTH = 4


def add_model(repository: Path, name: str, graph: onnx.GraphProto, config: str) -> Path:
    """Write `<repository>/<name>` and enter it in `exported.json`; returns the path of its `model.onnx`."""
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "onnxruntime"\n{config}')

    manifest = repository / "exported.json"
    exported = (
        json.loads(manifest.read_text()) if manifest.exists() else {"preset": "tiny", "weights": "", "models": {}}
    )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    exported["models"][name] = {"bytes": file.stat().st_size, "sha256": digest}
    manifest.write_text(json.dumps(exported))
    return file


def doubling(element_type: int = TensorProto.FLOAT) -> onnx.GraphProto:
    """y = x + x, items of WIDTH numbers."""
    x = helper.make_tensor_value_info("x", element_type, ["batch", WIDTH])
    y = helper.make_tensor_value_info("y", element_type, ["batch", WIDTH])
    return helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])


DOUBLING_CONFIG = f"""
max_batch_size: 8
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ {WIDTH} ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ {WIDTH} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
"""


def lookup() -> onnx.GraphProto:
    """value = table[index], a table of three: any other index makes ONNX Runtime fail."""
    index = helper.make_tensor_value_info("index", TensorProto.INT64, ["batch", 1])
    value = helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch", 1])
    table = helper.make_tensor("table", TensorProto.FLOAT, [3], [10.0, 11.0, 12.0])
    return helper.make_graph(
        [helper.make_node("Gather", ["table", "index"], ["value"])], "lookup", [index], [value], [table]
    )


LOOKUP_CONFIG = """
max_batch_size: 8
input [ { name: "index" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "value" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""


def repeated_product() -> onnx.GraphProto:
    """A 64 x 64 matrix multiplied by itself `steps` times, so that the caller says how long a request takes."""
    size = [64, 64]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "matrix"], ["next"]),
            helper.make_node("Identity", ["more"], ["go_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("more", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, size),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, size),
        ],
    )
    identity = [float(row == column) for row in range(size[0]) for column in range(size[1])]
    return helper.make_graph(
        [helper.make_node("Loop", ["steps", "", "matrix"], ["product"], body=body)],
        "repeated_product",
        [helper.make_tensor_value_info("steps", TensorProto.INT64, [1])],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, size)],
        [helper.make_tensor("matrix", TensorProto.FLOAT, size, identity)],
    )


REPEATED_PRODUCT_CONFIG = """
max_batch_size: 0
input [ { name: "steps" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "product" data_type: TYPE_FP32 dims: [ 64, 64 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""

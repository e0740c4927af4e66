"""Writes small model repositories: ONNX graphs of a few nodes and their Triton configurations."""

import hashlib
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import TensorProto, helper
from sadtalker_runtime.manifest import MANIFEST, ExportedFile, Manifest, read_manifest, write_manifest

WIDTH = 4
OPENVINO = 'optimization { execution_accelerators { cpu_execution_accelerator [ { name: "openvino" } ] } }'


def add_model(repository: Path, name: str, graph: onnx.GraphProto, config: str) -> Path:
    """Write an ONNX model to `<repository>/<name>` enter it in the manifest, and return its file."""
    file = repository / name / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, file)
    (repository / name / "config.pbtxt").write_text(f'name: "{name}"\nbackend: "onnxruntime"\n{config}')

    enter_file(file)
    return file


def enter_file(file: Path, size: int | None = None) -> None:
    """Enter the file `<repository>/<name>/1/<file>` in the manifest, as one of `size` bytes (default: its own)."""
    repository, name = file.parents[2], file.parents[1].name
    empty = Manifest(preset="tiny", weights="", precision="fp32", size=256, exporter="", models={})
    manifest = read_manifest(repository) if (repository / MANIFEST).exists() else empty
    digest = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""
    entry = ExportedFile(file.stat().st_size if size is None else size, digest)
    files = {**manifest.models.get(name, {}), file.name: entry}
    write_manifest(repository, replace(manifest, models={**manifest.models, name: files}))


def remove_files(repository: Path, name: str) -> None:
    """Remove all files of a model from the manifest, and the model with them."""
    manifest = read_manifest(repository)
    models = {model: files for model, files in manifest.models.items() if model != name}
    write_manifest(repository, replace(manifest, models=models))


def doubling(element_type: int = TensorProto.FLOAT) -> onnx.GraphProto:
    """Return a graph of y = x + x, items of WIDTH numbers."""
    x = helper.make_tensor_value_info("x", element_type, ["batch", WIDTH])
    y = helper.make_tensor_value_info("y", element_type, ["batch", WIDTH])
    return helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubling", [x], [y])


DOUBLING_CONFIG = f"""
max_batch_size: 8
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ {WIDTH} ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ {WIDTH} ] }} ]
instance_group [ {{ count: 1 kind: KIND_CPU }} ]
"""


ONE_ITEM_PER_RUN = """
parameters { key: "one_item_per_run" value: { string_value: "1" } }
"""


def lookup() -> onnx.GraphProto:
    """Return a graph of value = table[index], a table of three: any other index makes ONNX Runtime fail."""
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
    """Multiply a 64 x 64 matrix by itself `steps` times, so that the caller says how long a request takes."""
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


def add_video_model(repository: Path) -> None:
    """Write a stand-in for the model `sadtalker`: `steps` calls of the model `product`, each a response.

    It keeps the contract with the launcher: it counts its videos, and follows the orders to refuse or to end them.
    """
    version = repository / "sadtalker" / "1"
    version.mkdir(parents=True)
    (version / "model.py").write_text(_VIDEO_MODEL)
    (repository / "sadtalker" / "config.pbtxt").write_text(_VIDEO_CONFIG)


_VIDEO_CONFIG = """
name: "sadtalker"
backend: "python"
max_batch_size: 0
model_transaction_policy { decoupled: true }
input [ { name: "steps" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "step" data_type: TYPE_INT64 dims: [ 1 ] } ]
"""

_VIDEO_MODEL = """
import asyncio, os
from dataclasses import replace
from pathlib import Path
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        name = "sadtalker_videos_in_flight"
        self.family = pb.MetricFamily(name=name, description=name, kind=pb.MetricFamily.GAUGE)
        self.in_flight = self.family.Metric({})

    async def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            if order := launcher_order():
                self.end(sender, order)
                continue
            self.in_flight.increment(1)
            for step in range(pb.get_input_tensor_by_name(request, "steps").as_numpy()[0]):
                inputs = [pb.Tensor("steps", np.array([1]))]
                call = pb.InferenceRequest(model_name="product", requested_output_names=["product"], inputs=inputs)
                answer = asyncio.ensure_future(call.async_exec())
                done = False
                while not done:
                    await asyncio.sleep(0.1)
                    done = answer.done()
                    if launcher_order() in ("stopping", "broken"):
                        self.end(sender, launcher_order())
                        break
                if not done:
                    break
                if answer.result().has_error():
                    error = answer.result().error()
                    flags = pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                    sender.send(pb.InferenceResponse(error=error), flags=flags)
                    break
                sender.send(pb.InferenceResponse([pb.Tensor("step", np.array([step]))]))
            else:
                sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            self.in_flight.increment(-1)

    def end(self, sender, order):
        error = pb.TritonError(f"the server is {order}", pb.TritonError.UNAVAILABLE)
        sender.send(pb.InferenceResponse(error=error), flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def launcher_order():
    file = Path(os.environ["SADTALKER_DRAIN_FILE"])
    order = file.read_text() if file.exists() else None
    return order if order in ("draining", "stopping", "broken") else None
"""

"""Model configurations turned into ONNX Runtime sessions, without Triton."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import throwaway_repository as throwaway
from onnx import TensorProto, helper
from sadtalker_runtime.onnx_backend import session as onnx_session


def accelerated(kind: str, name: str, **parameters: str) -> dict[str, Any]:
    entry = {"name": name, "parameters": parameters}
    return {"optimization": {"execution_accelerators": {f"{kind}_execution_accelerator": [entry]}}}


def with_parameters(**values: str) -> dict[str, Any]:
    return {"parameters": {name: {"string_value": value} for name, value in values.items()}}


def tensor(name: str, data_type: str = "TYPE_FP32", dims: tuple[int, ...] = (throwaway.WIDTH,)) -> dict[str, Any]:
    return {"name": name, "data_type": data_type, "dims": list(dims)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return throwaway.add_model(tmp_path, "doubling", throwaway.doubling(), throwaway.DOUBLING_CONFIG)


@pytest.fixture
def gpu_build(monkeypatch: pytest.MonkeyPatch) -> None:
    providers = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: providers)


def test_threads_mode_and_level_reach_the_session() -> None:
    config = with_parameters(intra_op_thread_count="3", inter_op_thread_count="2", execution_mode="1")
    options = onnx_session.session_options({**config, "optimization": {"graph": {"level": -1}}})
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_BASIC

    options = onnx_session.session_options({})
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (0, 0)
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (with_parameters(intra_op_thread_count="two"), "intra_op_thread_count must be a whole number, not 'two'"),
        (with_parameters(one_item_per_run="2"), "one_item_per_run must be 0 or 1, not 2"),
        (with_parameters(execution_mode="2"), r"execution_mode must be 0 \(sequential\) or 1 \(parallel\), not 2"),
        ({"optimization": {"graph": {"level": 3}}}, r"level must be one of \[-1, 0, 1, 2\], not 3"),
    ],
)
def test_bad_session_settings(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        onnx_session.session_options(config)


def test_openvino_precision_is_always_said() -> None:
    for accelerator, hint in (
        (accelerated("cpu", "openvino"), "f32"),
        (accelerated("cpu", "openvino", precision="BF16"), "bf16"),
    ):
        (name, options), fallback = onnx_session.execution_providers(accelerator, "CPU", "0")
        assert name == "OpenVINOExecutionProvider"
        assert json.loads(options["load_config"]) == {"CPU": {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": "1"}}
        assert fallback == ("CPUExecutionProvider", {})

    config = accelerated("cpu", "openvino") | with_parameters(intra_op_thread_count="1")
    (_, options), _ = onnx_session.execution_providers(config, "CPU", "0")
    assert json.loads(options["load_config"])["CPU"]["INFERENCE_NUM_THREADS"] == "1"


def test_openvino_runs_the_model(model: Path) -> None:
    config = {"input": [tensor("x")], "output": [tensor("y")], "max_batch_size": 8, **accelerated("cpu", "openvino")}
    session = onnx_session.open_session(model, config, "CPU", "0")
    assert session.get_providers()[0] == "OpenVINOExecutionProvider"
    for rows in (1, 3):
        x = np.full((rows, throwaway.WIDTH), 1.25, np.float32)
        np.testing.assert_array_equal(session.run(["y"], {"x": x})[0], 2 * x)


def test_a_session_for_one_item_per_run(model: Path) -> None:
    config = {"input": [tensor("x")], "output": [tensor("y")], "max_batch_size": 8}
    config |= with_parameters(one_item_per_run="1") | accelerated("cpu", "openvino")
    session = onnx_session.open_session(model, config, "CPU", "0")
    assert session.get_inputs()[0].shape == [1, throwaway.WIDTH]


@pytest.mark.usefixtures("gpu_build")
def test_gpu_instances_end_in_cuda_on_their_device() -> None:
    assert onnx_session.execution_providers({}, "GPU", "1") == [
        ("CUDAExecutionProvider", {"device_id": "1"}),
        ("CPUExecutionProvider", {}),
    ]
    config = accelerated(
        "gpu", "tensorrt", precision_mode="FP16", max_workspace_size_bytes="1024", trt_sparsity_enable="1"
    )
    assert onnx_session.execution_providers(config, "GPU", "0")[:2] == [
        (
            "TensorrtExecutionProvider",
            {"device_id": "0", "trt_fp16_enable": "1", "trt_max_workspace_size": "1024", "trt_sparsity_enable": "1"},
        ),
        ("CUDAExecutionProvider", {"device_id": "0"}),
    ]
    config = accelerated("gpu", "cuda", use_tf32="0")
    assert onnx_session.execution_providers(config, "GPU", "0")[0][1] == {"use_tf32": "0", "device_id": "0"}


@pytest.mark.usefixtures("gpu_build")
def test_cpu_instances_ignore_gpu_accelerators() -> None:
    assert onnx_session.execution_providers(accelerated("gpu", "cuda"), "CPU", "0") == [("CPUExecutionProvider", {})]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (accelerated("cpu", "openvino"), "has no OpenVINOExecutionProvider: it has TensorrtExecutionProvider, CUDA"),
        (accelerated("cpu", "cuda"), "unknown cpu_execution_accelerator 'cuda': expected openvino"),
        (accelerated("cpu", "openvino", precision="INT4"), "precision must be one of FP32, BF16, not 'INT4'"),
        (accelerated("cpu", "openvino", threads="2"), "openvino has no parameter 'threads': expected precision"),
    ],
)
@pytest.mark.usefixtures("gpu_build")
def test_accelerators_that_cannot_be_honoured(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        onnx_session.execution_providers(config, "CPU", "0")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_fails_is_an_error_and_not_the_cpu(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "execution_providers", lambda *_: [("CUDAExecutionProvider", {})])
    config = {"input": [tensor("x")], "output": [tensor("y")], "max_batch_size": 8}
    with pytest.raises(ValueError, match="onnxruntime could not load CUDAExecutionProvider"):
        onnx_session.open_session(model, config, "GPU", "0")


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch", "message"),
    [
        ([tensor("image")], [tensor("y")], 8, r"input 'image': config.pbtxt names \['image'\], the ONNX file \['x'\]"),
        ([], [tensor("y")], 8, r"input 'x': config.pbtxt names \[\], the ONNX file \['x'\]"),
        ([tensor("x")], [tensor("z")], 8, r"output 'z': config.pbtxt names \['z'\], the ONNX file \['y'\]"),
        (
            [tensor("x", "TYPE_FP16")],
            [tensor("y")],
            8,
            "input 'x': config.pbtxt says TYPE_FP16, the ONNX file has TYPE_FP32",
        ),
        (
            [tensor("x")],
            [tensor("y", dims=(5,))],
            8,
            r"output 'y': config.pbtxt says shape \[-1, 5\], the ONNX file has \[-1, 4\]",
        ),
        ([tensor("x")], [tensor("y")], 0, r"input 'x': config.pbtxt says shape \[4\], the ONNX file has \[-1, 4\]"),
    ],
)
def test_tensors_must_match_the_file(model: Path, inputs: Any, outputs: Any, batch: int, message: str) -> None:
    config = {"input": inputs, "output": outputs, "max_batch_size": batch}
    with pytest.raises(ValueError, match=message):
        onnx_session.open_session(model, config, "CPU", "0")


def test_a_fixed_batch_axis_cannot_batch(tmp_path: Path) -> None:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, throwaway.WIDTH]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "fixed", [x], [y])
    file = throwaway.add_model(tmp_path, "fixed", graph, throwaway.DOUBLING_CONFIG)
    config = {"input": [tensor("x")], "output": [tensor("y")], "max_batch_size": 8}
    with pytest.raises(ValueError, match=r"input 'x': config.pbtxt says shape \[-1, 4\], the ONNX file has \[1, 4\]"):
        onnx_session.open_session(file, config, "CPU", "0")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing\.onnx is missing"):
        onnx_session.open_session(tmp_path / "nothing.onnx", {}, "CPU", "0")

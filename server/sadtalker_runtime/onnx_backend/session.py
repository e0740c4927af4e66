"""Opens the ONNX Runtime session that a Triton model configuration describes.

The fields mean what they mean to Triton's native backend (github.com/triton-inference-server/onnxruntime_backend):
`optimization.execution_accelerators`, `optimization.graph.level` and the parameters `intra_op_thread_count`,
`inter_op_thread_count`, `execution_mode`. The openvino accelerator takes one parameter more, `precision` (FP32, BF16),
and a model another, `one_item_per_run` (1 or 0): the items of a batch then run one after the other. A session for that
one shape plans its memory once and takes much less; where an item fills the processor, it costs no time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort

GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
OPENVINO_PRECISIONS = {"FP32": "f32", "BF16": "bf16"}
TENSORRT_PRECISIONS = {"FP32": {}, "FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}}
TRITON_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
}

BATCH_DIMENSION = "batch"  # how our exports name axis 0

Config = Mapping[str, Any]
Provider = tuple[str, dict[str, str]]


def open_session(model: Path, config: Config, instance_kind: str, device_id: str) -> ort.InferenceSession:
    """Open a session for one instance (`instance_kind` "CPU" or "GPU"; `device_id` counts GPUs).

    Raises ValueError for a setting that this onnxruntime cannot honour, and for tensors of `model` that differ from
    the configuration's.
    """
    if not model.is_file():
        raise ValueError(f"{model} is missing")
    providers = execution_providers(config, instance_kind, device_id)
    # Without enable_fallback=0 a provider that fails would silently become the CPU provider.
    session = ort.InferenceSession(str(model), session_options(config), providers=providers, enable_fallback=0)
    for name, _ in providers:
        if name not in session.get_providers():
            raise ValueError(f"onnxruntime could not load {name}; its reason is in the log above")
    items = (1 if one_item_per_run(config) else -1) if config["max_batch_size"] > 0 else None
    check_tensors("input", config["input"], session.get_inputs(), items)
    check_tensors("output", config["output"], session.get_outputs(), items)
    return session


def session_options(config: Config) -> ort.SessionOptions:
    """Return threads, execution mode and graph level; 0 threads means all cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = _whole_number(config, "intra_op_thread_count")
    options.inter_op_num_threads = _whole_number(config, "inter_op_thread_count")
    # Every instance is a process of its own: spinning threads would take the cores from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    if (mode := _whole_number(config, "execution_mode")) > 1:
        raise ValueError(f"parameter execution_mode must be 0 (sequential) or 1 (parallel), not {mode}")
    options.execution_mode = ort.ExecutionMode.ORT_PARALLEL if mode else ort.ExecutionMode.ORT_SEQUENTIAL

    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    if level not in GRAPH_LEVELS:
        raise ValueError(f"optimization.graph.level must be one of {sorted(GRAPH_LEVELS)}, not {level}")
    options.graph_optimization_level = GRAPH_LEVELS[level]
    if one_item_per_run(config):
        options.add_free_dimension_override_by_name(BATCH_DIMENSION, 1)
    return options


def one_item_per_run(config: Config) -> bool:
    """Return the parameter of that name."""
    if (value := _whole_number(config, "one_item_per_run")) > 1:
        raise ValueError(f"parameter one_item_per_run must be 0 or 1, not {value}")
    return bool(value)


def execution_providers(config: Config, instance_kind: str, device_id: str) -> list[Provider]:
    """Return the execution providers of an instance, first choice first; the CPU provider takes the rest.

    A GPU instance takes the gpu_execution_accelerators and always ends in CUDA, a CPU instance takes the
    cpu_execution_accelerators.
    """
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    kind = "gpu" if instance_kind == "GPU" else "cpu"
    makers = {"tensorrt": _tensorrt, "cuda": _cuda} if kind == "gpu" else {"openvino": _openvino}
    requested = {
        entry["name"]: entry.get("parameters", {}) for entry in accelerators.get(f"{kind}_execution_accelerator", [])
    }
    for name in requested:
        if name not in makers:
            raise ValueError(f"unknown {kind}_execution_accelerator '{name}': expected {' or '.join(makers)}")
    if kind == "gpu":
        requested.setdefault("cuda", {})

    providers = [make(requested[name], config, device_id) for name, make in makers.items() if name in requested]
    available = ort.get_available_providers()
    for provider, _ in providers:
        if provider not in available:
            raise ValueError(f"this onnxruntime ({ort.__version__}) has no {provider}: it has {', '.join(available)}")
    return [*providers, ("CPUExecutionProvider", {})]


def check_tensors(kind: str, declared: Sequence[Config], actual: Sequence[Any], items: int | None) -> None:
    """Raise ValueError where the `declared` tensors of the configuration differ from the `actual` ones of the file.

    `items` is the length of the batch axis, -1 for any, None where there is none.
    """
    found = {tensor.name: tensor for tensor in actual}
    names = [tensor["name"] for tensor in declared]
    missing = [name for name in names if name not in found]
    unfed = [name for name in found if name not in names] if kind == "input" else []
    if missing or unfed:
        raise ValueError(f"{kind} '{(missing or unfed)[0]}': config.pbtxt names {names}, the ONNX file {list(found)}")
    for tensor in declared:
        name, expected, onnx_type = tensor["name"], tensor["data_type"], found[tensor["name"]].type
        if expected != (got := TRITON_TYPES.get(onnx_type, onnx_type)):
            raise ValueError(f"{kind} '{name}': config.pbtxt says {expected}, the ONNX file has {got}")
        dims = ([] if items is None else [items]) + [int(size) for size in tensor["dims"]]
        shape = [size if isinstance(size, int) else -1 for size in found[name].shape]
        if len(shape) != len(dims) or any(size not in (-1, dim) for size, dim in zip(shape, dims, strict=True)):
            raise ValueError(f"{kind} '{name}': config.pbtxt says shape {dims}, the ONNX file has {shape}")


def _openvino(parameters: Mapping[str, str], config: Config, device_id: str) -> Provider:
    if unknown := parameters.keys() - {"precision"}:
        raise ValueError(f"accelerator openvino has no parameter '{unknown.pop()}': expected precision")
    precision = _choice(parameters, "precision", OPENVINO_PRECISIONS)
    # By default OpenVINO chooses bf16 where the processor has it, and splits the cores into streams: want neither.
    settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": "1"}
    if threads := _whole_number(config, "intra_op_thread_count"):
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    return "OpenVINOExecutionProvider", {"device_type": "CPU", "load_config": json.dumps({"CPU": settings})}


def _tensorrt(parameters: Mapping[str, str], config: Config, device_id: str) -> Provider:
    options = {"device_id": device_id, **_choice(parameters, "precision_mode", TENSORRT_PRECISIONS)}
    renamed = {"max_workspace_size_bytes": "trt_max_workspace_size"}
    options |= {renamed.get(key, key): value for key, value in parameters.items() if key != "precision_mode"}
    return "TensorrtExecutionProvider", options


def _cuda(parameters: Mapping[str, str], config: Config, device_id: str) -> Provider:
    return "CUDAExecutionProvider", {**parameters, "device_id": device_id}


def _choice(parameters: Mapping[str, str], key: str, choices: Mapping[str, Any]) -> Any:
    value = parameters.get(key, "FP32")
    if value not in choices:
        raise ValueError(f"accelerator parameter {key} must be one of {', '.join(choices)}, not '{value}'")
    return choices[value]


def _whole_number(config: Config, name: str) -> int:
    text = config.get("parameters", {}).get(name, {}).get("string_value", "0")
    if not text.isdecimal():
        raise ValueError(f"parameter {name} must be a whole number, not '{text}'")
    return int(text)

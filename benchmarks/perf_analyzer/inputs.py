"""Input files for perf_analyzer that fit a model: the example portrait and speech, seeded tensors."""

import base64
import io
import json
import struct
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import model_config_pb2

LARGEST = 0.5  # magnitude of the seeded tensors, uniform around 0: within the range of keypoints and coefficients


def write_input(config: Any, path: Path, files: Mapping[str, bytes]) -> None:
    """Write one request for the model of `config` (`ModelConfig`), of its optional inputs only those in `files`.

    `files`: contents of its BYTES inputs, by name.
    """
    random = np.random.default_rng(0)
    request = {}
    for tensor in config.input:
        datatype, shape = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_"), list(tensor.dims)
        if tensor.optional and tensor.name not in files:
            continue
        if datatype == "STRING":
            raw = struct.pack("<I", len(files[tensor.name])) + files[tensor.name]
        else:
            raw = _values(random, datatype, shape).tobytes()
        request[tensor.name] = {"content": {"b64": base64.b64encode(raw).decode()}, "shape": shape}
    path.write_text(json.dumps({"data": [request]}))


def cut_speech(recording: Path, seconds: float) -> bytes:
    """Return the first seconds of a WAV file, as a WAV file."""
    part = io.BytesIO()
    with wave.open(str(recording)) as whole, wave.open(part, "wb") as target:
        target.setparams(whole.getparams())
        target.writeframes(whole.readframes(round(seconds * whole.getframerate())))
    return part.getvalue()


def _values(random: np.random.Generator, datatype: str, shape: list[int]) -> npt.NDArray[np.generic]:
    if datatype == "FP32":
        return random.uniform(-LARGEST, LARGEST, shape).astype(np.float32)
    if datatype == "INT64":
        return np.zeros(shape, np.int64)  # a class, such as the pose style: all of them cost the same
    if datatype == "UINT8":
        return random.integers(0, 256, shape, np.uint8)
    raise ValueError(f"expected an input of type FP32, INT64, UINT8 or STRING, got {datatype}")

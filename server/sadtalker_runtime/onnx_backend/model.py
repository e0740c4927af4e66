"""The backend `onnxruntime` where Triton has no native one, as the embedded server has none.

A Python-based backend: the launcher puts a `model.py` that imports this one into Triton's backend directory, under the
name that a model's configuration gives (`backend: "onnxruntime"`). Each instance runs `<model>/<version>/model.onnx`
through the onnxruntime package. Where Triton brings its native C++ backend of the same name, as the NGC container
does, that one serves the very same model repository and this file is not used.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.onnx_backend.session import one_item_per_run, open_session
from sadtalker_runtime.triton.tracing import tracing


class TritonPythonModel:
    """One instance of an ONNX model: the requests that Triton batched become one run along axis 0."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Leave the configuration as it is: it must be complete."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session; a configuration that the file or this onnxruntime cannot honour is a ValueError."""
        config = json.loads(args["model_config"])
        model = Path(args["model_repository"], args["model_version"], config["default_model_filename"] or "model.onnx")
        self._session = open_session(model, config, args["model_instance_kind"], args["model_instance_device_id"])
        self._name, self._tracing = args["model_name"], tracing()
        self._batches = config["max_batch_size"] > 0
        self._one_item_per_run = one_item_per_run(config)
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request, in order, with its tensors or with its own error."""
        with self._tracing.execution(self._name, *requests):
            return self._answers(requests)

    def finalize(self) -> None:
        """Free the session's memory and send the last spans."""
        del self._session
        self._tracing.close()

    def _answers(self, requests: list[Any]) -> list[Any]:
        if self._batches and len(requests) > 1:
            with suppress(Exception):  # each request runs alone below, which shows the one at fault
                return self._run_joined(requests)
        return [self._run_alone(request) for request in requests]

    def _run_joined(self, requests: list[Any]) -> list[Any]:
        arrays = [self._arrays(request) for request in requests]
        outputs = self._run({name: np.concatenate([feed[name] for feed in arrays]) for name in self._inputs})
        ends = np.cumsum([len(feed[self._inputs[0]]) for feed in arrays])
        for name, output in zip(self._outputs, outputs, strict=True):
            if len(output) != ends[-1]:
                raise ValueError(f"output '{name}' has {len(output)} items for a batch of {ends[-1]}")
        parts = [np.split(output, ends[:-1]) for output in outputs]
        return [self._response(part) for part in zip(*parts, strict=True)]

    def _run_alone(self, request: Any) -> Any:
        try:
            return self._response(self._run(self._arrays(request)))
        except Exception as error:
            bad_input = isinstance(error, InvalidArgument)
            code = pb_utils.TritonError.INVALID_ARG if bad_input else pb_utils.TritonError.INTERNAL
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{self._name}: {error}", code))

    def _arrays(self, request: Any) -> dict[str, Array]:
        return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}

    def _run(self, feed: dict[str, Array]) -> list[Array]:
        if not self._one_item_per_run:
            outputs: list[Array] = self._session.run(self._outputs, feed)
            return outputs
        items = range(len(feed[self._inputs[0]]))
        runs = [self._session.run(self._outputs, {name: a[i : i + 1] for name, a in feed.items()}) for i in items]
        return [np.concatenate(output) for output in zip(*runs, strict=True)]

    def _response(self, outputs: Any) -> Any:
        tensors = [pb_utils.Tensor(name, array) for name, array in zip(self._outputs, outputs, strict=True)]
        return pb_utils.InferenceResponse(tensors)

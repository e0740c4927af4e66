"""Calls from one model of the server to another."""

import re
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import UNAVAILABLE, CallError
from sadtalker_runtime.triton.tracing import tracing

_ROUTE = re.compile(r"^(in ensemble '[^']*', )+")  # Triton's prefix to a model's message
_FULL = "shared memory pool"  # in Triton's message when /dev/shm is full; it goes on to name a region of its own


async def call(model: str, inputs: dict[str, Array], *outputs: str) -> list[Array]:
    """Run `model` and return copies of some of its outputs, so that no shared memory stays in use.

    Raises:
        CallError: the model answered with an error.
    """
    with tracing().call(model) as parameters:
        return _results(await _request(model, inputs, outputs, parameters).async_exec(), outputs)


def call_blocking(model: str, inputs: dict[str, Array], *outputs: str) -> list[Array]:
    """Run `model` as `call` does, for callers that are not coroutines."""
    with tracing().call(model) as parameters:
        return _results(_request(model, inputs, outputs, parameters).exec(), outputs)


def _request(model: str, inputs: dict[str, Array], outputs: tuple[str, ...], parameters: dict[str, str]) -> Any:
    return pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=[pb_utils.Tensor(name, np.ascontiguousarray(value)) for name, value in inputs.items()],
        parameters=parameters,
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )


def _results(response: Any, outputs: tuple[str, ...]) -> list[Array]:
    if response.has_error():
        message = _ROUTE.sub("", response.error().message())
        raise CallError(f"{UNAVAILABLE}shared memory is full, try another server" if _FULL in message else message)
    return [np.array(pb_utils.get_output_tensor_by_name(response, name).as_numpy()) for name in outputs]

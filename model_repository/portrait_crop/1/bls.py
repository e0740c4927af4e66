"""Calls another model of the server."""

import numpy as np
import triton_python_backend_utils as pb_utils


class CallError(RuntimeError):
    """The called model answered with an error, whose message this is."""


def call(model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
    """Runs `model` and returns copies of some of its outputs, so that no shared memory stays in use."""
    request = pb_utils.InferenceRequest(
        model_name=model,
        requested_output_names=list(outputs),
        inputs=[pb_utils.Tensor(name, np.ascontiguousarray(value)) for name, value in inputs.items()],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = request.exec()
    if response.has_error():
        raise CallError(response.error().message())
    return [np.array(pb_utils.get_output_tensor_by_name(response, name).as_numpy()) for name in outputs]

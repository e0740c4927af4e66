"""Sends whatever tensors one likes to a model, past the client and its checks."""

import queue
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

SECONDS = 120.0


def text(value: bytes) -> np.ndarray:
    """A tensor [1, 1] of one file or text."""
    return np.array([[value]], np.object_)


def send(url: str, model: str, inputs: dict[str, np.ndarray], timeout: float | None = None) -> list[Any]:
    """Return all answers to a request; raises InferenceServerException for the one error.

    Args:
        timeout: seconds after which Triton may refuse what still waits.
    """
    tensors = []
    for name, value in inputs.items():
        tensor = triton.InferInput(name, value.shape, np_to_triton_dtype(value.dtype))
        tensor.set_data_from_numpy(value)
        tensors.append(tensor)
    answers: queue.Queue[tuple[Any, InferenceServerException | None]] = queue.Queue()
    found = []
    with triton.InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        microseconds = None if timeout is None else round(timeout * 1e6)
        client.async_stream_infer(model, tensors, timeout=microseconds, enable_empty_final_response=True)
        while True:
            result, error = answers.get(timeout=SECONDS)
            if error is not None:
                raise error
            found.append(result)
            if result.get_response().parameters["triton_final_response"].bool_param:
                return found


def refusal(url: str, model: str, inputs: dict[str, np.ndarray], timeout: float | None = None) -> str:
    """Return the message of the error that a request is answered with."""
    try:
        send(url, model, inputs, timeout)
    except InferenceServerException as error:
        return str(error.message())
    raise AssertionError("the request was served")

"""Sends arbitrary tensors to a model, bypassing the client and its checks."""

import queue
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

SECONDS = 120.0


class UnansweredError(AssertionError):
    """A request without an answer in time."""


def text(value: bytes) -> np.ndarray:
    """Return a tensor [1, 1] of one file or text."""
    return np.array([[value]], np.object_)


def send(
    url: str,
    model: str,
    inputs: dict[str, np.ndarray],
    timeout: float | None = None,
    *,
    patience: float = SECONDS,
    cancel_after: int | None = None,
) -> list[Any]:
    """Return all answers to a request; raises InferenceServerException for the one error.

    Args:
        timeout: seconds after which Triton may refuse what still waits.
        patience: seconds to wait for an answer, before UnansweredError is raised.
        cancel_after: hang up after so many answers.
    """
    tensors = []
    for name, value in inputs.items():
        tensor = triton.InferInput(name, value.shape, np_to_triton_dtype(value.dtype))
        tensor.set_data_from_numpy(value)
        tensors.append(tensor)
    answers: queue.Queue[tuple[Any, InferenceServerException | None]] = queue.Queue()
    found: list[Any] = []
    client = triton.InferenceServerClient(url)
    try:
        client.start_stream(lambda result, error: answers.put((result, error)))
        microseconds = None if timeout is None else round(timeout * 1e6)
        client.async_stream_infer(model, tensors, timeout=microseconds, enable_empty_final_response=True)
        while len(found) != cancel_after:
            try:
                result, error = answers.get(timeout=patience)
            except queue.Empty as empty:
                cancel_after = len(found)  # closing would wait for the answer
                raise UnansweredError(f"no answer within {patience:g} s") from empty
            if error is not None:
                raise error
            found.append(result)
            if result.get_response().parameters["triton_final_response"].bool_param:
                break
        return found
    finally:
        client.stop_stream(cancel_requests=len(found) == cancel_after)
        client.close()


def refusal(url: str, model: str, inputs: dict[str, np.ndarray], timeout: float | None = None) -> str:
    """Return the message of the error that a request is answered with."""
    try:
        send(url, model, inputs, timeout)
    except InferenceServerException as error:
        return str(error.message())
    raise AssertionError("the request was served")

"""Sends tensors to the throw-away models over gRPC, and reads what Triton counted."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from sadtalker_server import Server
from tritonclient.utils import InferenceServerException

NAMES = {
    "doubling": ("x", "y", "FP32"),
    "single": ("x", "y", "FP32"),
    "lookup": ("index", "value", "INT64"),
    "product": ("steps", "product", "INT64"),
}


def ask(url: str, model: str, tensor: np.ndarray) -> np.ndarray:
    """Return the model's answer to one tensor; raises InferenceServerException."""
    name, output, datatype = NAMES[model]
    request = triton.InferInput(name, tensor.shape, datatype)
    request.set_data_from_numpy(tensor)
    with triton.InferenceServerClient(url) as client:
        return client.infer(model, [request]).as_numpy(output)


def ask_together(url: str, model: str, tensors: Sequence[np.ndarray]) -> list[np.ndarray | InferenceServerException]:
    """Return the answers to tensors that are sent at the same time, an exception in the place of a failed one."""

    def ask_one(tensor: np.ndarray) -> np.ndarray | InferenceServerException:
        try:
            return ask(url, model, tensor)
        except InferenceServerException as error:
            return error

    with ThreadPoolExecutor(len(tensors)) as pool:
        return list(pool.map(ask_one, tensors))


def video(url: str, steps: int) -> Iterator[int]:
    """Yield the numbers of the finished steps of the stand-in for `sadtalker`; raises InferenceServerException."""
    request = triton.InferInput("steps", [1], "INT64")
    request.set_data_from_numpy(np.array([steps]))
    answers: Queue[tuple[Any, InferenceServerException | None]] = Queue()
    with triton.InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("sadtalker", [request], enable_empty_final_response=True)
        while True:
            result, error = answers.get(timeout=30)
            if error is not None:
                raise error
            if result.get_response().parameters["triton_final_response"].bool_param:
                return
            yield int(result.as_numpy("step")[0])


class Counter:
    """Counts what a model does from now on."""

    def __init__(self, server: Server, model: str) -> None:
        self._client = triton.InferenceServerClient(server.grpc_url)
        self._headers = server.admin_headers
        self._model = model
        self._items, self._executions = self._read()

    def executions(self, items: int) -> int:
        """Return how often the model was executed for `items` items; waits, as Triton counts after it has answered."""
        deadline = time.monotonic() + 5
        while (now := self._read())[0] - self._items < items:
            assert time.monotonic() < deadline, f"only {now[0] - self._items} of {items} items were counted"
            time.sleep(0.01)
        return now[1] - self._executions

    def _read(self) -> tuple[int, int]:
        statistics = self._client.get_inference_statistics(self._model, headers=self._headers).model_stats[0]
        return statistics.inference_count, statistics.execution_count

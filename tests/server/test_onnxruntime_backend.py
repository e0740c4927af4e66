"""The Python-based onnxruntime backend inside a real tritonserver."""

from pathlib import Path

import numpy as np
import pytest
import throwaway_repository as throwaway
from onnx import TensorProto
from sadtalker_server import LaunchError, Server
from throwaway_requests import Counter, ask, ask_together
from tritonclient.utils import InferenceServerException


@pytest.mark.parametrize("model", ["doubling", "single"])
def test_concurrent_requests_share_one_execution(server: Server, model: str) -> None:
    requests = [np.full((rows, throwaway.WIDTH), rows, np.float32) for rows in (1, 2, 5)]
    counter = Counter(server, model)
    answers = ask_together(server.grpc_url, model, requests)
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer, 2 * request)
    assert counter.executions(items=8) == 1


def test_a_bad_request_fails_alone(server: Server) -> None:
    counter = Counter(server, "lookup")
    requests = [np.full((rows, 1), index) for rows, index in ((1, 0), (2, 7), (5, 2))]
    first, bad, last = ask_together(server.grpc_url, "lookup", requests)
    np.testing.assert_array_equal(first, [[10]])
    np.testing.assert_array_equal(last, [[12]] * 5)
    assert isinstance(bad, InferenceServerException)
    assert bad.status() == "StatusCode.INVALID_ARGUMENT"
    assert bad.message().startswith("lookup: ")
    assert "idx=7 must be within the inclusive range [-3,2]" in bad.message()
    assert counter.executions(items=6) == 1, "the requests did not meet in one batch"


def test_a_model_without_batching_runs_each_request(server: Server) -> None:
    counter = Counter(server, "product")
    for answer in ask_together(server.grpc_url, "product", [np.array([steps]) for steps in (1, 2)]):
        np.testing.assert_array_equal(answer, np.eye(64, dtype=np.float32))
    assert counter.executions(items=2) == 2


def test_a_wrong_shape_is_refused(server: Server) -> None:
    with pytest.raises(
        InferenceServerException, match=r"unexpected shape for input 'x'.*Expected \[-1,4\], got \[1,5\]"
    ):
        ask(server.grpc_url, "doubling", np.zeros((1, throwaway.WIDTH + 1), np.float32))


def test_a_configuration_that_cannot_be_honoured_stops_the_start(tmp_path: Path) -> None:
    models = tmp_path / "models"
    throwaway.add_model(models, "halves", throwaway.doubling(TensorProto.FLOAT16), throwaway.DOUBLING_CONFIG)
    strange = throwaway.OPENVINO.replace("openvino", "gpu_io")
    throwaway.add_model(models, "strange", throwaway.doubling(), f"{throwaway.DOUBLING_CONFIG}{strange}")
    log = tmp_path / "log"
    with pytest.raises(LaunchError) as failure, Server(models, tritonserver="embedded", log_file=log):
        pass
    text = str(failure.value)
    assert "failed to load 'halves'" in text
    assert "input 'x': config.pbtxt says TYPE_FP32, the ONNX file has TYPE_FP16" in text
    assert "failed to load 'strange'" in text
    assert "unknown cpu_execution_accelerator 'gpu_io': expected openvino" in text
    assert f"The whole log is in {log}" in text

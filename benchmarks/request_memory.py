"""Memory that tritonserver keeps per request: `python benchmarks/request_memory.py [--requests 3000]`.

Asks a model that does nothing, in a server of its own for each way of asking and of allocating, and divides what the
resident memory of tritonserver and of the model's process grew by between the first third and the end by the number of
requests in between. Writes benchmarks/results/request_memory.json.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
from hardware import describe
from sadtalker_server import Server
from tritonclient.grpc import service_pb2, service_pb2_grpc

RESULTS = Path(__file__).resolve().parent / "results"
RESPONSES = 5  # of a streamed request, as of a video of a second
MODEL = """
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for _ in range({calls}):
                tensor = pb.Tensor("x", np.zeros((1, {call_bytes}), np.uint8))
                called = pb.InferenceRequest(model_name="called", inputs=[tensor], requested_output_names=["y"])
                assert not called.exec().has_error()
            for left in reversed(range({responses})):
                tensor = pb.Tensor("y", np.array([[b"x" * {response_bytes}]], np.object_))
                flags = 0 if left else pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                sender.send(pb.InferenceResponse([tensor]), flags=flags)
"""
CALLED = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        x = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("y", array)]) for array in x]
"""
CALLED_CONFIG = """
name: "called"
backend: "python"
max_batch_size: 1
input [ { name: "x" data_type: TYPE_UINT8 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_UINT8 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU } ]
"""
CONFIG = """
name: "streamed"
backend: "python"
max_batch_size: 1
model_transaction_policy { decoupled: true }
input [ { name: "x" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU } ]
"""
WAYS: dict[str, dict[str, object]] = {
    # request and response bytes are those of the example portrait with 2 s of speech, and of a fragment
    "a stream per request": {},
    "one stream for all": {"streams": 1},
    "a connection per request": {"connections": True},
    "a stream per request, small tensors": {"request_bytes": 100, "response_bytes": 100},
    "a stream per request, no histograms": {"arguments": ["--metrics-config=histogram_latencies=false"]},
    "a stream per request, no metrics": {"arguments": ["--allow-metrics=false"]},
    "a stream per request, allocation pool 1": {"arguments": ["--grpc-infer-allocation-pool-size=1"]},
    "a stream per request, 2 malloc arenas": {"environment": {"MALLOC_ARENA_MAX": "2"}},
    "a stream per request, 10 calls of another model": {"calls": 10},
    "a stream per request, 10 calls with 8 MiB": {"calls": 10, "call_bytes": 8 << 20},
    "a stream per request, trim and mmap at 64 KiB": {
        "environment": {"MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_MMAP_THRESHOLD_": "65536"}
    },
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--way", choices=[*WAYS], action="append", help="default: all")
    parser.add_argument("--output", type=Path, default=RESULTS / "request_memory.json")
    args = parser.parse_args()
    kept = {}
    for way in args.way or WAYS:
        kept[way] = measure(args.requests, **WAYS[way])  # type: ignore[arg-type]
        print(f"{way}: {kept[way]['kib_per_request']}", flush=True)  # noqa: T201
    result = {"what": f"KiB kept per request, {args.requests} requests", **describe(), "kept": kept}
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def measure(
    requests: int,
    streams: int | None = None,
    connections: bool = False,
    request_bytes: int = 130_000,
    response_bytes: int = 17_000,
    calls: int = 0,
    call_bytes: int = 1000,
    arguments: list[str] | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, object]:
    """Measure resident MB of each process at each ninth of the way, and KiB per request over the last two thirds."""
    with tempfile.TemporaryDirectory() as folder, environ(environment or {}):
        model = MODEL.format(responses=RESPONSES, response_bytes=response_bytes, calls=calls, call_bytes=call_bytes)
        write_models(Path(folder), {"streamed": (model, CONFIG), "called": (CALLED, CALLED_CONFIG)})
        with Server(folder, tritonserver="embedded", extra_arguments=arguments or []) as server:
            processes = {"tritonserver": server.pid}
            for number, child in enumerate(psutil.Process(server.pid).children(recursive=True)):
                processes[f"model {number}"] = child.pid
            samples: dict[str, list[float]] = {name: [] for name in processes}
            ask = asker(server.grpc_url, request_bytes, streams is not None, connections)
            for _ in range(9):
                ask(requests // 9)
                for name, pid in processes.items():
                    samples[name].append(psutil.Process(pid).memory_info().rss / 2**20)
    later = requests // 9 * 6
    return {
        "kib_per_request": {name: round((s[-1] - s[2]) * 1024 / later, 2) for name, s in samples.items()},
        "mib": {name: [round(value, 1) for value in s] for name, s in samples.items()},
    }


def asker(url: str, request_bytes: int, one_stream: bool, connections: bool) -> Callable[[int], None]:
    """Return a function that sends so many requests, one after the other, and reads their responses."""
    message = service_pb2.ModelInferRequest(model_name="streamed")
    message.inputs.add(name="x", datatype="BYTES", shape=[1, 1])
    message.raw_input_contents.append(request_bytes.to_bytes(4, "little") + bytes(request_bytes))
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]

    def stream(channel: grpc.Channel, count: int) -> None:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        received = 0
        for response in stub.ModelStreamInfer(iter([message] * count)):
            assert not response.error_message, response.error_message
            received += 1
        assert received == count * RESPONSES, received

    channel = grpc.insecure_channel(url, options)

    def ask(count: int) -> None:
        if one_stream:
            stream(channel, count)
            return
        for _ in range(count):
            if connections:
                with grpc.insecure_channel(url, options) as other:
                    stream(other, 1)
            else:
                stream(channel, 1)

    return ask


def write_models(folder: Path, models: dict[str, tuple[str, str]]) -> None:
    """Write a model repository of Python models: source and configuration by name."""
    for name, (source, config) in models.items():
        version = folder / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(source)
        (version.parent / "config.pbtxt").write_text(config)
    (folder / "exported.json").write_text(json.dumps({"preset": "none", "weights": "", "models": {}}))


@contextmanager
def environ(values: dict[str, str]) -> Iterator[None]:
    """Yield environment variables that the server inherits."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


if __name__ == "__main__":
    sys.exit(main())

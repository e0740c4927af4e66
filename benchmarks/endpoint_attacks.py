"""Attacks on a server's endpoints: its HTTP, byte by byte, and Triton's gRPC, call by call."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlparse

import numpy as np
import tritonclient.grpc as triton
from raw_requests import text
from sadtalker_server import Server

ALLOWED = (b"HTTP/1.1 200 ", b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 405 ", b"HTTP/1.1 431 ")
TRITON_PATHS = (  # all that parse JSON in Triton's HTTP front end
    "/v2/models/sadtalker/infer",
    "/v2/models/sadtalker/generate",
    "/v2/models/sadtalker/generate_stream",
    "/v2/repository/index",
    "/v2/repository/models/sadtalker/load",
    "/v2/repository/models/sadtalker/unload",
    "/v2/systemsharedmemory/region/x/register",
    "/v2/cudasharedmemory/region/x/register",
    "/v2/trace/setting",
    "/v2/logging",
    "/v2/models/stats",
)
Probe = Callable[[triton.InferenceServerClient], object]


def http_probes(seed: int) -> dict[str, bytes]:
    """Return requests by name; none may have any effect but an answer."""
    random = np.random.default_rng(seed)
    nested = b"[" * 200_000
    probes = {f"nested JSON to {path}": _post(path, nested, f"Content-Length: {len(nested)}") for path in TRITON_PATHS}
    for length in ("-1", str(2**63), "99999999999999999999", "x"):
        for header in ("Content-Length", "Inference-Header-Content-Length"):
            probes[f"{header}: {length}"] = _post(TRITON_PATHS[0], b"{}", f"{header}: {length}")
    probes |= {
        "chunks without end": _post("/healthz", b"ffffffff\r\nx", "Transfer-Encoding: chunked"),
        "parent folder": b"GET /../../../../etc/passwd HTTP/1.1\r\n\r\n",
        "encoded parent folder": b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n\r\n",
        "absolute address": b"GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\n\r\n",
        "tunnel": b"CONNECT example.org:443 HTTP/1.1\r\n\r\n",
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "two requests": b"GET /healthz HTTP/1.1\r\n\r\nPOST /v2/logging HTTP/1.1\r\n\r\n",
        "line feed in the target": b"GET /healthz\nX: y HTTP/1.1\r\n\r\n",
    }
    for number in range(20):
        probes[f"noise {number}"] = random.bytes(int(random.integers(1, 3000))) + b"\r\n\r\n"
    return probes


def _post(path: str, body: bytes, header: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode() + body


def refused_or_harmless(server: Server, request: bytes) -> bool:
    """Send bytes to the HTTP port; return whether they were answered by a known page, or by closing, in time."""
    address = urlparse(server.http_url)
    start = time.monotonic()
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        try:
            connection.sendall(request)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            answer = b""
    return (not answer or answer.startswith(ALLOWED)) and time.monotonic() - start < 15 and b"root:" not in answer


def grpc_probes(seed: int) -> dict[str, Probe]:
    """Return calls by name; all must be refused."""
    random = np.random.default_rng(seed)
    probes: dict[str, Probe] = {
        "register memory": lambda client: client.register_system_shared_memory("x", "/x", 64),
        "register CUDA memory": lambda client: client.register_cuda_shared_memory("x", b"x" * 64, 0, 64),
        "load a model": lambda client: client.load_model("sadtalker"),
        "unload a model": lambda client: client.unload_model("sadtalker"),
        "the repository": lambda client: client.get_model_repository_index(),
        "the configuration": lambda client: client.get_model_config("sadtalker"),
        "statistics": lambda client: client.get_inference_statistics(),
        "write a log file": lambda client: client.update_log_settings({"log_file": "/tmp/attacked"}),
        "write traces": lambda client: client.update_trace_settings(settings={"trace_file": "/tmp/attacked"}),
        "no such model": lambda client: client.infer("../../etc", [_tensor("image", text(b""))]),
        "a streamed model called plainly": lambda client: client.infer("sadtalker", [_tensor("image", text(b"x"))]),
        "no input": lambda client: client.infer("portrait_crop", []),
        "an unknown input": lambda client: client.infer("portrait_crop", [_tensor("x", text(b""))]),
    }
    for model, name, shape in (
        ("face_reconstruction", "image", (1, 3, 1, 1)),
        ("appearance_encoder", "image", (1, 3, 0, 0)),
        ("audio2exp", "mel", (1, 2**20)),
        ("face_renderer", "appearance", (1,)),
        ("portrait_crop", "image", (9, 1)),
    ):
        value = np.zeros(shape, np.float32)
        probes[f"{model} with {shape}"] = lambda client, model=model, name=name, value=value: client.infer(
            model, [_tensor(name, value)]
        )
    for number in range(10):
        noise = text(random.bytes(int(random.integers(1, 5000))))
        probes[f"noise {number} for a picture"] = lambda client, noise=noise: client.infer(
            "portrait_crop", [_tensor("image", noise)]
        )
    return probes


def _tensor(name: str, value: np.ndarray) -> triton.InferInput:
    kind = "BYTES" if value.dtype == object else "FP32"
    tensor = triton.InferInput(name, value.shape, kind)
    tensor.set_data_from_numpy(value)
    return tensor


def slow_writers(server: Server, connections: int, seconds: float) -> list[socket.socket]:
    """Open connections to both ports that begin a request and send it byte by byte; return them, still open."""
    opened = []
    for number in range(connections):
        url = urlparse(server.http_url if number % 2 else f"//{server.grpc_url}")
        opened.append(socket.create_connection((url.hostname, url.port), timeout=5))
        _dribble(opened[-1], b"GET /heal" if number % 2 else b"PRI * HTTP/2.0\r\n")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for connection in opened:
            _dribble(connection, b"t")
        time.sleep(0.2)
    return opened


def _dribble(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # closed, as it should be
        connection.send(data)

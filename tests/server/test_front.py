"""The launcher's HTTP: probes and metrics, bounded in every way; Triton's own is closed."""

import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus

import psutil
import pytest
from sadtalker_server import Server, _front
from sadtalker_server._front import Front, Page
from sadtalker_server._http import get

HOST = "127.0.0.1"


@pytest.fixture
def waiting() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def port(waiting: threading.Event) -> Iterator[int]:
    def slow() -> Page:
        waiting.wait(20)
        return Page(HTTPStatus.OK, "at last\n")

    with socket.create_server((HOST, 0)) as listener:
        free = listener.getsockname()[1]
    front = Front(HOST, free, {"/healthz": lambda: Page(HTTPStatus.OK, "alive\n")}, {"/metrics": slow})
    yield free
    front.close()
    with pytest.raises(OSError):
        get(HOST, free, "/healthz")


def exchange(port: int, request: bytes) -> bytes:
    """Return everything that comes back; a connection that is reset has said nothing."""
    with socket.create_connection((HOST, port), timeout=20) as connection:
        try:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except ConnectionError:
            return b""


def test_pages(port: int) -> None:
    assert get(HOST, port, "/healthz") == (200, "alive\n")
    assert get(HOST, port, "/healthz?verbose") == (200, "alive\n")
    status, text = get(HOST, port, "/v2/models")
    assert status == 404 and text == "there is /healthz, /metrics; models are called over gRPC\n"
    head = exchange(port, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"Content-Length: 6\r\n" in head and head.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"POST /healthz HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"HTTP/1.1 405 "),
        (b"POST /v2/repository/index HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + 200000 * b"[", b"HTTP/1.1 405 "),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: " + 20000 * b"x" + b"\r\n\r\n", b"HTTP/1.1 431 "),
        (b"GET /" + 20000 * b"x", b"HTTP/1.1 431 "),
        (b"GET /healthz\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", b"HTTP/1.1 400 "),
        (b"\r\n\r\n", b"HTTP/1.1 400 "),
        (b"", b""),
    ],
)
def test_bad_requests_are_refused_and_cost_nothing(port: int, request_: bytes, answer: bytes) -> None:
    with socket.create_connection((HOST, port), timeout=20) as connection:
        connection.sendall(request_[:20000])
        connection.shutdown(socket.SHUT_WR)
        try:
            assert connection.recv(13).startswith(answer)
        except ConnectionResetError:  # closed with bytes unread
            assert len(request_) > 8192
    if request_:
        exchange(port, request_)
    assert get(HOST, port, "/healthz") == (200, "alive\n")


def test_slow_pages_and_slow_callers_keep_no_probe_waiting(
    port: int, monkeypatch: pytest.MonkeyPatch, waiting: threading.Event
) -> None:
    monkeypatch.setattr(_front, "_SECONDS", 2.0)
    connections = [socket.create_connection((HOST, port), timeout=20) for _ in range(3 * _front._CONNECTIONS)]
    for number, connection in enumerate(connections):
        connection.sendall(b"GET /metrics HTTP/1.1\r\n\r\n" if number % 2 else b"GET /he")
    start = time.monotonic()
    assert get(HOST, port, "/healthz") == (200, "alive\n")
    assert time.monotonic() - start < 1.5
    for connection in connections:  # all are closed, without an answer
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        connection.close()
    waiting.set()
    assert get(HOST, port, "/metrics") == (200, "at last\n")


def test_a_real_server_answers_probes_and_opens_no_other_http(server: Server) -> None:
    port = int(server.http_url.rpartition(":")[2])
    for path in ("/readyz", "/v2/health/ready"):
        assert get(HOST, port, path) == (200, "ready\n")
    for path in ("/healthz", "/v2/health/live"):
        assert get(HOST, port, path) == (200, "alive\n")
    page = urllib.request.urlopen(server.metrics_url).read().decode()
    assert "nv_inference_pending_request_count" in page
    for line in ("server_ready 1", "server_dead_processes 0", "server_restarts_total 0"):
        assert f"\nsadtalker_{line}\n" in page
    exchange(port, b"POST /v2/repository/index HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + 200000 * b"[")
    assert get(HOST, port, "/healthz") == (200, "alive\n")

    listening = {c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {HOST}
    others = {address.port for address in listening} - {int(server.grpc_url.rpartition(":")[2])}
    [metrics] = others
    assert get(HOST, metrics, "/metrics")[0] == 200
    assert "triton" not in get(HOST, metrics, "/v2")[1], "Triton's HTTP front end is open"

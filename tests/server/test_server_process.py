"""The life of a real tritonserver: ready, draining, killed, failing; nothing stays behind."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import throwaway_repository as throwaway
from sadtalker_server import LaunchError, Server, _server
from sadtalker_server._installation import find_tritonserver
from throwaway_requests import ask, video
from tritonclient.utils import InferenceServerException

COMMAND = [sys.executable, "-c", "import sys; from sadtalker_server.cli import main; sys.exit(main())"]
OPTIONS = ["--tritonserver=embedded", "--http-port=0", "--grpc-port=0"]
EYE = np.eye(64, dtype=np.float32)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    throwaway.add_model(folder, "product", throwaway.repeated_product(), throwaway.REPEATED_PRODUCT_CONFIG)
    return folder


class Command:
    """A ready `sadtalker-server`, the processes it started and the shared memory it holds."""

    def __init__(self, process: subprocess.Popen[str], banner: str) -> None:
        self.process = process
        self.banner = banner
        self.grpc_url, self.http_url = (
            re.search(rf"^  {name} +(\S+)", banner, re.MULTILINE)[1] for name in ("gRPC", "HTTP")
        )
        self.metrics_url = f"{self.http_url}/metrics"
        self.started = psutil.Process(process.pid).children(recursive=True)
        assert {child.name() for child in self.started} == {"tritonserver", "triton_python_backend_stub"}
        assert self.shared_memory()

    def shared_memory(self) -> list[Path]:
        return list(Path("/dev/shm").glob(f"sadtalker_{self.process.pid}_*"))

    def is_gone(self) -> bool:
        return not self.shared_memory() and not any(is_alive(child) for child in self.started)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def command(models: Path, *options: str) -> Iterator[Command]:
    arguments = [*COMMAND, f"--model-repository={models}", *OPTIONS, *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            banner = ""
            while "Ctrl-C" not in banner:
                line = process.stdout.readline()
                assert line, f"the command ended with {process.wait()}"
                banner += line
            yield Command(process, banner)
        finally:
            process.terminate()


def wait_until(what: Callable[[], bool], secs: float = 20) -> None:
    deadline = time.monotonic() + secs
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def steps_lasting(url: str, secs: float) -> np.ndarray:
    """Return a request to the model `product` that takes about `secs` on this machine."""
    ask(url, "product", np.array([100]))
    start = time.monotonic()
    ask(url, "product", np.array([20000]))
    return np.array([int(20000 * secs / (time.monotonic() - start))])


def is_queued(metrics_url: str) -> bool:
    """Return whether a request to `product` waits, that is, another one is being executed."""
    page = urllib.request.urlopen(metrics_url).read().decode()
    return 'nv_inference_pending_request_count{model="product",version="1"} 1' in page


def is_draining(http_url: str) -> bool:
    try:
        urllib.request.urlopen(f"{http_url}/readyz")
    except OSError:
        return True
    return False


def test_a_ready_server(server: Server) -> None:
    assert urllib.request.urlopen(f"{server.http_url}/readyz").status == 200
    assert "nv_inference_pending_request_count" in urllib.request.urlopen(server.metrics_url).read().decode()
    assert psutil.Process(server.pid).name() == "tritonserver"
    assert "successfully loaded 'doubling'" in server.log_path.read_text()


def test_sigterm_lets_requests_finish_and_leaves_nothing(models: Path) -> None:
    with command(models) as running, ThreadPoolExecutor() as pool:
        assert "ready: 1 models, tiny preset" in running.banner
        steps = steps_lasting(running.grpc_url, secs=1.5)
        requests = [pool.submit(ask, running.grpc_url, "product", steps) for _ in range(2)]
        wait_until(lambda: is_queued(running.metrics_url))
        running.process.terminate()
        wait_until(lambda: is_draining(running.http_url))
        for request in requests:
            np.testing.assert_array_equal(request.result(), EYE)
        assert running.process.wait() == 0
        assert running.is_gone()


def test_sigterm_lets_a_video_finish_and_refuses_new_ones(models: Path) -> None:
    throwaway.add_video_model(models)
    with command(models) as running:
        steps = video(running.grpc_url, steps=30)
        assert next(steps) == 0
        running.process.terminate()
        time.sleep(0.5)
        with pytest.raises(InferenceServerException, match="the server is draining"):
            list(video(running.grpc_url, steps=1))
        assert list(steps) == list(range(1, 30))
        assert running.process.wait() == 0
        assert running.is_gone()


def test_a_second_ctrl_c_stops_at_once(models: Path) -> None:
    with command(models) as running, ThreadPoolExecutor() as pool:
        steps = steps_lasting(running.grpc_url, secs=60)
        requests = [pool.submit(ask, running.grpc_url, "product", steps) for _ in range(2)]
        wait_until(lambda: is_queued(running.metrics_url))
        running.process.send_signal(signal.SIGINT)
        wait_until(lambda: is_draining(running.http_url))
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) == 1
        wait_until(running.is_gone)
        for request in requests:
            with pytest.raises(InferenceServerException):
                request.result()


def test_a_killed_tritonserver_ends_the_command(models: Path) -> None:
    with command(models) as running:
        next(child for child in running.started if child.name() == "tritonserver").kill()
        assert running.process.wait(10) == 1
        wait_until(running.is_gone)


def test_a_killed_launcher_takes_tritonserver_along(models: Path) -> None:
    with command(models) as running:
        running.process.kill()
        wait_until(running.is_gone)


def test_requests_that_outlast_the_exit_timeout(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "_GRACE_SECONDS", 1.0)
    server = Server(models, tritonserver="embedded", exit_timeout_secs=1, log_file=tmp_path / "log")
    with ThreadPoolExecutor() as pool:
        with pytest.raises(LaunchError, match="tritonserver did not drain within 1 s"), server:
            steps = steps_lasting(server.grpc_url, secs=60)
            requests = [pool.submit(ask, server.grpc_url, "product", steps) for _ in range(2)]
            wait_until(lambda: is_queued(server.metrics_url))
        for request in requests:
            with pytest.raises(InferenceServerException):
                request.result()
    assert server.exit_code != 0
    assert not list(Path("/dev/shm").glob(f"sadtalker_{os.getpid()}_{server._workspace.region_prefix.split('_')[2]}*"))


def test_an_interrupted_start_leaves_nothing(models: Path, tmp_path: Path) -> None:
    def interrupt(loaded: int, models: int) -> None:
        assert (loaded, models) == (0, 1)
        started.extend(psutil.Process(server.pid).children(recursive=True))
        if started:
            raise KeyboardInterrupt

    started: list[psutil.Process] = []
    server = Server(models, tritonserver="embedded", log_file=tmp_path / "log", on_progress=interrupt)
    with pytest.raises(KeyboardInterrupt), server:
        pass
    assert server.exit_code == -signal.SIGKILL
    wait_until(lambda: not any(is_alive(child) for child in started))


def test_a_failed_start_shows_why(models: Path) -> None:
    file = models / "product" / "1" / "model.onnx"
    file.write_bytes(b"x" * file.stat().st_size)
    arguments = [*COMMAND, f"--model-repository={models}", *OPTIONS]
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "failed to load 'product' version 1" in ended.stderr and "ModelProto does not have a graph" in ended.stderr
    assert "tritonserver failed to start (exit code 1); its log above says why" in ended.stderr
    assert not ended.stdout


def test_a_start_that_takes_too_long(models: Path, tmp_path: Path) -> None:
    server = Server(models, tritonserver="embedded", log_file=tmp_path / "log", start_timeout_secs=0)
    with pytest.raises(LaunchError, match="tritonserver was not ready within 0 s"), server:
        pass


def test_a_tritonserver_on_path_without_onnxruntime_gets_ours(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "triton"
    (root / "backends").mkdir(parents=True)
    embedded = find_tritonserver("embedded", root / "backends")
    shutil.rmtree(root / "backends" / "onnxruntime")
    binary = root / "bin" / "tritonserver"
    binary.parent.mkdir()
    settings = " ".join(f"{name}={shlex.quote(embedded.environment[name])}" for name in ("LD_LIBRARY_PATH", "PATH"))
    binary.write_text(f'#!/bin/sh\n{settings} exec {shlex.quote(str(embedded.binary))} "$@"\n')
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(binary.parent), prepend=os.pathsep)
    assert shutil.which("tritonserver") == str(binary)
    with Server(models, log_file=tmp_path / "log") as server:
        np.testing.assert_array_equal(ask(server.grpc_url, "product", np.array([2])), EYE)

"""Processes die: probes say so at once, videos end with UNAVAILABLE, nothing hangs, and nothing stays behind."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from sadtalker_server import LaunchError, Server, _restart, _server
from sadtalker_server._processes import Stub, find_stubs, is_alive
from test_server_process import COMMAND, EYE, OPTIONS, command, wait_until
from throwaway_requests import ask, video
from tritonclient.utils import InferenceServerException

PROMPT_SECONDS = 15.0  # for what takes a second or two on a quiet machine; a ghost was drained for 47 s


def status(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def stub_of(server_pid: int, model: str) -> int:
    return next(stub.pid for stub in find_stubs(server_pid) if stub.model == model)


def rest_of(steps: Iterator[int]) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as failure:
        list(steps)
    return failure.value


def test_a_dead_process_of_a_model_ends_videos_and_server(models: Path, tmp_path: Path) -> None:
    server = Server(models, tritonserver="embedded", exit_timeout_secs=60, log_file=tmp_path / "log")
    with pytest.raises(LaunchError, match="the process of product died"), server:
        steps = video(server.grpc_url, steps=1000)
        assert next(steps) == 0
        assert "sadtalker_videos_in_flight 1" in status(server.metrics_url)[1]
        assert status(f"{server.http_url}/readyz") == (200, "ready\n")
        start = time.monotonic()
        victim = psutil.Process(stub_of(server.pid, "product"))
        victim.kill()
        wait_until(lambda: victim.status() == psutil.STATUS_ZOMBIE)  # tritonserver does not reap it
        assert status(f"{server.http_url}/readyz")[0] == 503
        assert status(f"{server.http_url}/healthz")[0] == 503
        assert "the server is broken" in str(rest_of(steps))
        server.wait()
        page = status(server.metrics_url)[1]
        assert "videos_in_flight" not in page
        assert "sadtalker_server_ready 0" in page and "sadtalker_server_dead_processes 1" in page
    assert time.monotonic() - start < PROMPT_SECONDS, "a dead pipeline was drained"
    assert server.exit_code == -signal.SIGKILL and not server.stopped_cleanly


@pytest.mark.parametrize("victim", ["sadtalker", "tritonserver"])
def test_nobody_hangs_when_nobody_is_left_to_answer(models: Path, tmp_path: Path, victim: str) -> None:
    server = Server(models, tritonserver="embedded", log_file=tmp_path / "log")
    text = "the process of sadtalker died" if victim == "sadtalker" else "tritonserver ended by itself"
    with pytest.raises(LaunchError, match=text), server:
        steps = video(server.grpc_url, steps=1000)
        assert next(steps) == 0
        start = time.monotonic()
        os.kill(server.pid if victim == "tritonserver" else stub_of(server.pid, victim), signal.SIGKILL)
        assert rest_of(steps).status() == str(grpc.StatusCode.UNAVAILABLE)
        server.wait()
    assert time.monotonic() - start < PROMPT_SECONDS


def test_the_command_ends_with_1(models: Path) -> None:
    with command(models) as running:
        tritonserver = next(child for child in running.started if child.name() == "tritonserver")
        os.kill(stub_of(tritonserver.pid, "product"), signal.SIGKILL)
        assert running.process.wait(PROMPT_SECONDS) == 1
        assert running.is_gone()


def test_sigterm_right_after_a_death_drains_no_ghost(models: Path) -> None:
    with command(models, "--exit-timeout-secs=60") as running, ThreadPoolExecutor() as pool:
        steps = video(running.grpc_url, steps=1000)
        assert next(steps) == 0
        rest = pool.submit(rest_of, steps)
        tritonserver = next(child for child in running.started if child.name() == "tritonserver")
        os.kill(stub_of(tritonserver.pid, "product"), signal.SIGKILL)
        running.process.terminate()
        assert running.process.wait(PROMPT_SECONDS) == 1
        assert rest.result()
        assert running.is_gone()


def test_restart_always_serves_again_on_the_same_ports(models: Path) -> None:
    with command(models, "--restart=always") as running:
        for restarts in (1, 2):
            tritonserver = next(
                child for child in psutil.Process(running.process.pid).children() if child.name() == "tritonserver"
            )
            os.kill(stub_of(tritonserver.pid, "product"), signal.SIGKILL)
            wait_until(lambda: status(f"{running.http_url}/readyz")[0] == 503)
            wait_until(lambda: status(f"{running.http_url}/readyz")[0] == 200, secs=60)
            np.testing.assert_array_equal(ask(running.grpc_url, "product", np.array([2])), EYE)
            assert list(video(running.grpc_url, steps=2)) == [0, 1], "the order to break was forgotten"
            assert f"sadtalker_server_restarts_total {restarts}" in status(running.metrics_url)[1]
        running.process.terminate()
        assert running.process.wait(30) == 0
        assert running.is_gone()


def test_pauses_grow_up_to_a_minute_and_are_forgotten_after_a_good_while(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        """Fails to start 8 times, runs for an hour, dies, and starts at once."""

        failure = "it died"
        deaths, starts = 0, 0

        def wait(self) -> None:
            nonlocal now
            self.deaths += 1
            if self.deaths == 2:
                now += 3600
            if self.deaths == 3:
                raise KeyboardInterrupt

        def restart(self) -> None:
            self.starts += 1
            if self.starts <= 8:
                raise LaunchError("no")

    now, pauses, reports = 0.0, [], []
    monkeypatch.setattr(_restart.time, "sleep", pauses.append)
    monkeypatch.setattr(_restart.time, "monotonic", lambda: now)
    with pytest.raises(KeyboardInterrupt):
        _restart.serve(Failing(), True, reports.append)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 1]
    assert reports[0] == "it died; starting again in 1 s" and reports.count("ready again") == 2


def outlast(server: Server) -> float:
    """Stop a server with an exit timeout of 1 s during a long video; return the seconds that the stop took."""
    with ThreadPoolExecutor() as pool:
        with pytest.raises(LaunchError, match="tritonserver did not drain within 1 s"), server:
            steps = video(server.grpc_url, steps=1000)
            assert next(steps) == 0
            rest = pool.submit(rest_of, steps)
            start = time.monotonic()
        seconds = time.monotonic() - start
        assert "the server is stopping" in str(rest.result())
    return seconds


def test_a_video_that_outlasts_the_exit_timeout_is_told_so(models: Path, tmp_path: Path) -> None:
    outlast(Server(models, tritonserver="embedded", exit_timeout_secs=1, log_file=tmp_path / "log"))


@pytest.mark.parametrize("log", ["stderr", "file"])
def test_a_process_that_dies_while_a_model_loads_is_tried_again(
    models: Path, tmp_path: Path, log: str, capfd: pytest.CaptureFixture[str]
) -> None:
    binary, starts = tmp_path / "tritonserver", tmp_path / "starts"
    binary.write_text(
        f"#!/bin/sh\necho start >> {starts}\necho \"Stub process 'product_0_0' is not healthy.\"\nexit 1\n"
    )
    binary.chmod(0o755)
    server = Server(models, tritonserver=str(binary), log_file="stderr" if log == "stderr" else tmp_path / "log")
    with pytest.raises(LaunchError, match=r"failed to start \(exit code 1\)"), server:
        pass
    assert len(starts.read_text().splitlines()) == 3
    text = capfd.readouterr().err if log == "stderr" else (tmp_path / "log").read_text()
    assert text.count("is not healthy") == 3


def test_the_log_on_standard_error_is_passed_on_as_it_comes(models: Path) -> None:
    arguments = [*COMMAND, f"--model-repository={models}", *OPTIONS]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("ready: 2 models")
        process.terminate()
        assert re.search(r"successfully loaded 'product'", process.communicate(timeout=60)[1])


def test_a_process_that_names_no_model_is_no_stub() -> None:
    arguments = ["triton_python_backend_stub", "-c", "print(flush=True); import time; time.sleep(60)"]
    with subprocess.Popen(arguments, executable=sys.executable, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert find_stubs(os.getpid()) == []
        process.kill()


def test_stubs_are_children_of_tritonserver_and_zombies_are_dead(tmp_path: Path) -> None:
    script = tmp_path / "face" / "1" / "model.py"
    script.parent.mkdir(parents=True)
    script.write_text(
        "import subprocess, sys, time\n"
        "if len(sys.argv) == 1:\n"  # a process that a stub starts is the stub's own affair
        "    arguments = ['triton_python_backend_stub', sys.argv[0], 'again']\n"
        f"    subprocess.Popen(arguments, executable={sys.executable!r})\n"
        "print(flush=True)\ntime.sleep(60)\n"
    )
    arguments = ["/backends/python/triton_python_backend_stub", script]
    with subprocess.Popen(arguments, executable=sys.executable, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.readline()
        children = psutil.Process(process.pid).children()
        [stub] = find_stubs(os.getpid())
        assert (stub.pid, stub.model, len(children)) == (process.pid, "face", 1)
        assert is_alive(stub)
        assert not is_alive(Stub(stub.pid, stub.start_ticks + 1, "face")), "a later process with the same id"
        children[0].kill()
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
        assert not is_alive(stub)
    assert not is_alive(stub)


def test_a_stop_that_cut_videos_does_not_wait_for_unloading(models: Path, tmp_path: Path) -> None:
    with (models / "sadtalker" / "1" / "model.py").open("a") as script:
        script.write("\nTritonPythonModel.finalize = lambda self: __import__('time').sleep(60)\n")
    seconds = outlast(Server(models, tritonserver="embedded", exit_timeout_secs=1, log_file=tmp_path / "log"))
    assert seconds < _server._GRACE_SECONDS

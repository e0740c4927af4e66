"""One tritonserver process: started, waited for until it is ready, stopped without leaving anything behind."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType

from sadtalker_server._backend_check import check_configurations
from sadtalker_server._drain import DRAIN_FILE, drain
from sadtalker_server._errors import ServerError
from sadtalker_server._http import get
from sadtalker_server._installation import Installation, find_tritonserver
from sadtalker_server._log import loaded_models, telling_lines
from sadtalker_server._ports import choose_ports
from sadtalker_server._repository import Repository, check_repository, link_models

_SHARED_MEMORY = Path("/dev/shm")
_GRACE_SECS = 15.0  # for unloading models, after the exit timeout that Triton gives requests in flight
_POLL_SECS = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)


class Server:
    """tritonserver on a model repository, ready inside `with Server(...) as server:` and stopped after it.

    Args:
        model_repository: folder of models; its exported networks are checked before the start. Optional networks that
            are not installed are left out, with the ensembles that need them.
        host: address to listen on.
        http_port, grpc_port, metrics_port: 0 takes a free port.
        tritonserver: "auto" (the one on PATH, else the embedded one), "embedded", or the path of a binary.
        model_config_name: variant of the models' configurations, `configs/<name>.pbtxt`.
        exit_timeout_secs: how long a stop waits for the videos and other requests in flight.
        start_timeout_secs: how long the start may take.
        log_file: where tritonserver's log goes; None takes a temporary file that a clean stop removes, "stderr" this
            process's standard error.
        log_verbose: Triton's verbosity, 0 is off.
        extra_arguments: further arguments of tritonserver, which win over the ones made here.
        on_progress: called with the number of models loaded and the number of all, while they load.

    Entering raises ServerError when the repository is incomplete, a port is taken, no tritonserver can run here, or
    it fails to become ready; leaving raises it when requests were still in flight after `exit_timeout_secs`.
    tritonserver also stops when the thread that entered ends.
    """

    def __init__(
        self,
        model_repository: Path | str,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        tritonserver: str = "auto",
        model_config_name: str | None = None,
        exit_timeout_secs: int = 30,
        start_timeout_secs: float = 600.0,
        log_file: Path | str | None = None,
        log_verbose: int = 0,
        extra_arguments: Sequence[str] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._model_repository = Path(model_repository).resolve()
        self._host = host
        self._ports = {"HTTP": http_port, "gRPC": grpc_port, "metrics": metrics_port}
        self._tritonserver = tritonserver
        self._model_config_name = model_config_name
        self._exit_timeout_secs = exit_timeout_secs
        self._start_timeout_secs = start_timeout_secs
        self._log_file = log_file
        self._log_verbose = log_verbose
        self._extra_arguments = list(extra_arguments)
        self._on_progress = on_progress
        self._shm_prefix = f"sadtalker_{os.getpid()}_{secrets.token_hex(4)}_"
        self._process: subprocess.Popen[bytes] | None = None
        self.stopped_cleanly = False  # no request was cut

    @property
    def grpc_url(self) -> str:
        """`host:port`, as tritonclient takes it."""
        return f"{self._client_host}:{self._ports['gRPC']}"

    @property
    def http_url(self) -> str:
        """`http://host:port`."""
        return f"http://{self._client_host}:{self._ports['HTTP']}"

    @property
    def metrics_url(self) -> str:
        """Address of the Prometheus page."""
        return f"http://{self._client_host}:{self._ports['metrics']}/metrics"

    @property
    def pid(self) -> int:
        """Process id of tritonserver."""
        return self._running.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of tritonserver (negative: the signal that killed it); None while it runs or before its start."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> "Server":
        self.repository: Repository = check_repository(self._model_repository, self._model_config_name)
        self._ports = choose_ports(self._host, self._ports)
        self._folder = Path(tempfile.mkdtemp(prefix="sadtalker-server-"))
        try:
            if self.repository.not_installed:
                link_models(self._model_repository, self.repository.models, self._folder / "models")
            backends = self._folder / "backends"
            backends.mkdir()
            installation = find_tritonserver(self._tritonserver, backends)
            check_configurations(self._model_repository, self.repository.models, self._model_config_name, installation)
            self.log_path: Path | None = self._open_log()
            self._process = self._launch(installation)
            try:
                self._wait_until_ready()
            except ServerError:
                # tritonserver 2.51 crashed in about one start of 25, before it had loaded any model.
                if (self.exit_code or 0) >= 0:
                    raise
                self._kill_process_group()
                self._process = self._launch(installation)
                self._wait_until_ready()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process = self._running
        ended_by_itself = process.poll() is not None
        deadline = time.monotonic() + self._exit_timeout_secs
        try:
            drained = None
            if not ended_by_itself:
                drained = drain(self._folder / "draining", self._client_host, self._ports["metrics"], deadline)
            with suppress(subprocess.TimeoutExpired):  # then the clean-up kills it
                process.terminate()
                # After a drain only unloading is left, and that may never end: Triton's Python backend (seen in 2.51,
                # the same code in 2.71) reads whether a response was the last one from memory that it has given back,
                # and so sometimes keeps a finished request, which keeps its model.
                process.wait(_GRACE_SECS + (0.0 if drained else max(0.0, deadline - time.monotonic())))
            self.stopped_cleanly = bool(drained) or (drained is None and process.poll() == 0)
        finally:
            self._clean_up()
        if self.stopped_cleanly:
            if self._log_file is None and self.log_path is not None:
                self.log_path.unlink(missing_ok=True)
        elif not isinstance(error, Exception):  # an error of the `with` block tells more than this one
            what = "ended by itself" if ended_by_itself else f"did not drain within {self._exit_timeout_secs} s"
            raise ServerError(self._failure(f"tritonserver {what} (exit code {process.returncode})"))

    def wait(self) -> None:
        """Return when tritonserver has ended by itself."""
        self._running.wait()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerError("the server was not started: use it as a context manager")
        return self._process

    @property
    def _client_host(self) -> str:
        return "127.0.0.1" if self._host == "0.0.0.0" else self._host

    def _open_log(self) -> Path | None:
        if self._log_file == "stderr":
            return None
        if self._log_file is None:
            handle, name = tempfile.mkstemp(prefix="sadtalker-server-", suffix=".log")
            os.close(handle)
            return Path(name)
        try:
            Path(self._log_file).write_bytes(b"")
        except OSError as error:
            raise ServerError(f"log file {self._log_file} cannot be written: {error.strerror}") from error
        return Path(self._log_file)

    def _arguments(self, backends: Path | None) -> list[str]:
        own: dict[str, object] = {
            "model-repository": self._folder / "models" if self.repository.not_installed else self._model_repository,
            "model-control-mode": "none",
            "strict-readiness": "true",
            "exit-on-error": "true",
            "exit-timeout-secs": self._exit_timeout_secs,
            "http-address": self._host,
            "http-port": self._ports["HTTP"],
            "grpc-address": self._host,
            "grpc-port": self._ports["gRPC"],
            "metrics-address": self._host,
            "metrics-port": self._ports["metrics"],
            "metrics-config": "histogram_latencies=true",
        }
        if backends is not None:
            own["backend-directory"] = backends
        if self._model_config_name is not None:
            own["model-config-name"] = self._model_config_name
        if self._log_verbose:
            own["log-verbose"] = self._log_verbose
        options = [f"--{name}={value}" for name, value in own.items()]
        # A busy machine needs more than the usual 30 s to start a process of the Python backend.
        for setting in (f"shm-region-prefix-name={self._shm_prefix}", "stub-timeout-seconds=120"):
            options.append(f"--backend-config=python,{setting}")
        return [*options, "--disable-auto-complete-config", *self._extra_arguments]

    def _launch(self, installation: Installation) -> subprocess.Popen[bytes]:
        command = [str(installation.binary), *self._arguments(installation.backends)]
        with nullcontext(sys.stderr) if self.log_path is None else self.log_path.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal must reach tritonserver once, as the stop that drains.
            return subprocess.Popen(
                command,
                env={**installation.environment, DRAIN_FILE: str(self._folder / "draining")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_stop_with_launcher,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_secs
        while not self._is_ready():
            if (code := self._running.poll()) is not None:
                raise ServerError(self._failure(f"tritonserver failed to start (exit code {code})"))
            if time.monotonic() > deadline:
                raise ServerError(self._failure(f"tritonserver was not ready within {self._start_timeout_secs:g} s"))
            if self._on_progress is not None:
                self._on_progress(len(loaded_models(self._log())), len(self.repository.models))
            time.sleep(_POLL_SECS)

    def _is_ready(self) -> bool:
        try:
            if get(self._client_host, self._ports["HTTP"], "/v2/health/ready")[0] != 200:
                return False
            for service in ("gRPC", "metrics"):  # which open a moment before and after HTTP
                if f"--allow-{service.lower()}=false" not in self._extra_arguments:
                    socket.create_connection((self._client_host, self._ports[service]), timeout=1).close()
        except OSError:
            return False
        return True

    def _log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path is not None else ""

    def _failure(self, what: str) -> str:
        if self.log_path is None:
            return f"{what}; its log above says why"
        return f"{what}:\n{telling_lines(self._log())}\nThe whole log is in {self.log_path}"

    def _clean_up(self) -> None:
        """Kill what is left of the process group, then remove its shared memory and its folder."""
        self._kill_process_group()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _kill_process_group(self) -> None:
        """And remove its shared memory."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for region in _SHARED_MEMORY.glob(f"{self._shm_prefix}*"):
            region.unlink(missing_ok=True)


def _stop_with_launcher() -> None:
    """Runs in the new process: a launcher that is killed cannot stop tritonserver, so the kernel shall."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

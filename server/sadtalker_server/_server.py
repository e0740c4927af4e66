"""The server: tritonserver over a checked repository, an HTTP front for probes, and a watch over every process."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

from sadtalker_server._backend_check import check_configurations
from sadtalker_server._errors import LaunchError, unwritable
from sadtalker_server._front import Front, Page
from sadtalker_server._installation import Installation, find_tritonserver
from sadtalker_server._log import Log, loaded_models
from sadtalker_server._orders import BREAK, NONE, ORDERS_FILE, STOP, Videos, write_order
from sadtalker_server._ports import choose_ports
from sadtalker_server._precision import AUTO, fastest_configuration
from sadtalker_server._repository import Repository, check_repository, link_models
from sadtalker_server._restriction import choose_key, key_headers, restriction
from sadtalker_server._shared_memory import SharedMemory, check_shared_memory
from sadtalker_server._tritonserver import Tritonserver
from sadtalker_server._workspace import Workspace, sweep

_GRACE_SECONDS = 15.0  # for unloading models, after the exit timeout that Triton gives requests in flight
_STARTS = 3  # attempts, because tritonserver sometimes crashes when it starts
_BREAKING_SECONDS = 10.0  # of the watch, for ending the videos and killing the rest
_LOOPBACK = "127.0.0.1"
_SHARED_MEMORY = "shared memory"  # its name in a list of dead processes, when it is full


class Server:
    """tritonserver on a model repository, ready inside `with Server(...) as server:` and stopped after it.

    When a process of a model dies, tritonserver goes on as if nothing had happened, and requests hang. This class
    watches them all: probes then get 503, running videos are answered with UNAVAILABLE, and the rest is killed.

    Args:
        model_repository: folder of models; its exported networks are checked before the start. Optional networks that
            are not installed are left out, with the ensembles that need them.
        host: address to listen on.
        http_port: of `/healthz`, `/readyz` and `/metrics`; 0 takes a free port.
        grpc_port: of the models; 0 takes a free port.
        tritonserver: "auto" (the one on PATH, else the embedded one), "embedded", or the path of a binary.
        model_config_name: variant of the models' configurations, `configs/<name>.pbtxt`; "auto" takes the fastest that
            this processor and the export allow.
        exit_timeout_secs: how long a stop waits for the videos and other requests in flight.
        start_timeout_secs: how long the start may take.
        log_file: where tritonserver's log goes; None takes a temporary file that a clean stop removes, "stderr" this
            process's standard error.
        log_verbose: Triton's verbosity, 0 is off.
        open_protocols: let every caller use Triton's protocols for shared memory, configuration, repository,
            statistics, trace and logging; by default they ask for a key.
        admin_key: that key; None takes the variable SADTALKER_ADMIN_KEY, and a random one where it is not set.
        extra_arguments: further arguments of tritonserver, which win over the ones made here.
        on_progress: called with the number of models loaded and the number of all, while they load.

    Entering raises LaunchError when the repository is incomplete, a port is taken, no tritonserver can run here, or
    it fails to become ready; leaving raises it when a process had died, or when requests were still in flight after
    `exit_timeout_secs`. tritonserver is killed when the thread that started it ends.
    """

    def __init__(
        self,
        model_repository: Path | str,
        *,
        host: str = _LOOPBACK,
        http_port: int = 0,
        grpc_port: int = 0,
        tritonserver: str = "auto",
        model_config_name: str | None = None,
        exit_timeout_secs: int = 30,
        start_timeout_secs: float = 600.0,
        log_file: Path | str | None = None,
        log_verbose: int = 0,
        open_protocols: bool = False,
        admin_key: str | None = None,
        extra_arguments: Sequence[str] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._model_repository = Path(model_repository).resolve()
        self._host = host
        self._ports = {"HTTP": http_port, "gRPC": grpc_port}
        self._tritonserver = tritonserver
        self._model_config_name = model_config_name
        self._exit_timeout_secs = exit_timeout_secs
        self._start_timeout_secs = start_timeout_secs
        self._log_file = log_file
        self._log_verbose = log_verbose
        self._open_protocols = open_protocols
        self._admin_key = admin_key
        self._extra_arguments = list(extra_arguments)
        self._on_progress = on_progress
        self._run: Tritonserver | None = None
        self._videos: Videos | None = None
        self._phase = "starting"  # then "ready", then "stopping"
        self._dead: list[str] = []
        self._restarts = 0
        self._ended, self._unwatch = threading.Event(), threading.Event()
        self._shared_memory = SharedMemory()
        self.stopped_cleanly = False  # no request was cut

    @property
    def grpc_url(self) -> str:
        """`host:port`, as tritonclient takes it."""
        return f"{self._client_host}:{self._ports['gRPC']}"

    @property
    def http_url(self) -> str:
        """`http://host:port`, of probes and metrics."""
        return f"http://{self._client_host}:{self._ports['HTTP']}"

    @property
    def metrics_url(self) -> str:
        """Address of the Prometheus page."""
        return f"{self.http_url}/metrics"

    @property
    def admin_headers(self) -> dict[str, str]:
        """The gRPC metadata that opens the restricted protocols; empty where they are open."""
        return {} if self._open_protocols or self._admin_key is None else key_headers(self._admin_key)

    @property
    def log_path(self) -> Path | None:
        """File of tritonserver's log; None: standard error."""
        return self._log.path

    @property
    def model_config_name(self) -> str | None:
        """Variant of the models' configurations that is served; None: `config.pbtxt`."""
        return self._model_config_name

    @property
    def pid(self) -> int:
        """Process id of tritonserver."""
        return self._running.process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of tritonserver (negative: the signal that killed it); None while it runs or before its start."""
        return None if self._run is None else self._run.process.poll()

    def __enter__(self) -> "Server":
        if self._model_config_name == AUTO:
            self._model_config_name = fastest_configuration(self._model_repository, tritonserver=self._tritonserver)
        self.repository: Repository = check_repository(self._model_repository, self._model_config_name)
        if not self._open_protocols:
            self._admin_key = choose_key(self._admin_key)
        self._ports = choose_ports(self._host, self._ports)
        sweep()
        check_shared_memory()
        try:
            self._workspace = Workspace()
        except OSError as error:
            if told := unwritable(error):
                raise told from error
            raise
        self._front: Front | None = None
        try:
            if self.repository.not_installed:
                link_models(self._model_repository, self.repository.models, self._workspace.path / "models")
            backends = self._workspace.path / "backends"
            backends.mkdir()
            self._installation: Installation = find_tritonserver(self._tritonserver, backends)
            check_configurations(
                self._model_repository, self.repository.models, self._model_config_name, self._installation
            )
            self._log = Log(self._log_file)
            probes = {"/healthz": self._live, "/readyz": self._ready}
            habits = {"/v2/health/live": self._live, "/v2/health/ready": self._ready}  # Triton's own paths
            self._front = Front(self._host, self._ports["HTTP"], {**probes, **habits}, {"/metrics": self._metrics})
            self._start()
        except BaseException as error:
            self._clean_up()
            if told := unwritable(error):
                raise told from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run, deadline = self._running, time.monotonic() + self._exit_timeout_secs
        was_ready, self._phase = self._phase == "ready", "stopping"
        try:
            if was_ready and self._videos is not None and not self._broken():
                drained = self._videos.drain(deadline, self._broken)
                self._unwatch.set()  # from here on processes are expected to end
                # Videos that were cut have been answered, and nothing else is waited for.
                if not self._broken() and drained is not False:
                    # After a drain only unloading is left, and that may never end: Triton's Python backend (seen in
                    # 2.51, the same code in 2.71) reads whether a response was the last one from memory that it has
                    # given back, and so sometimes keeps a finished request, which keeps its model.
                    run.stop(_GRACE_SECONDS + (max(0.0, deadline - time.monotonic()) if drained is None else 0.0))
                    self.stopped_cleanly = bool(drained) or (drained is None and self.exit_code == 0)
            if self._broken():
                self._ended.wait(_BREAKING_SECONDS)
        finally:
            cut = f"did not drain within {self._exit_timeout_secs} s" if was_ready else "was stopped while it started"
            self._clean_up()
        if self.stopped_cleanly:
            if self._log_file is None and self.log_path is not None:
                self.log_path.unlink(missing_ok=True)
        elif not isinstance(error, Exception):  # an error of the `with` block tells more than this one
            raise LaunchError(self._log.explain(self.failure or f"tritonserver {cut} (exit code {self.exit_code})"))

    def wait(self) -> None:
        """Return when a process has died and the others have been killed; `failure` says which."""
        self._ended.wait()

    def restart(self) -> None:
        """Start tritonserver again, on the same ports, once `wait` has returned; raises LaunchError."""
        self._restarts += 1
        self._phase, self._dead, self._videos = "starting", [], None
        try:
            check_shared_memory()
            self._start()
        except (LaunchError, OSError) as error:
            self._dead = ["tritonserver"]
            if told := unwritable(error):
                raise told from error
            raise

    @property
    def failure(self) -> str | None:
        """The death that broke the server, in words; None while everything lives."""
        if not self._dead:
            return None
        if self._dead == [_SHARED_MEMORY]:
            return self._shared_memory.describe()
        if self._dead == ["tritonserver"]:
            return f"tritonserver ended by itself (exit code {self.exit_code})"
        return f"the process of {', '.join(dict.fromkeys(self._dead))} died"

    @property
    def _running(self) -> Tritonserver:
        if self._run is None:
            raise LaunchError("the server was not started: use it as a context manager")
        return self._run

    @property
    def _client_host(self) -> str:
        return _LOOPBACK if self._host == "0.0.0.0" else self._host

    def _start(self) -> None:
        """Start tritonserver, again where that fails by chance, and watch it once it is ready."""
        orders = self._workspace.path / "orders"
        write_order(orders, NONE)
        environment = {**self._installation.environment, ORDERS_FILE: str(orders)}
        grpc_port = self._ports["gRPC"] if "--allow-grpc=false" not in self._extra_arguments else None
        for left in reversed(range(_STARTS)):
            metrics_port: int | None = choose_ports(_LOOPBACK, {"metrics": 0})["metrics"]
            command = [str(self._installation.binary), *self._arguments(self._installation.backends, metrics_port)]
            if "--allow-metrics=false" in self._extra_arguments:
                metrics_port = None
            run = self._run = Tritonserver(command, environment, self._log, [self._workspace.lock])
            try:
                run.wait_until_ready(
                    self._client_host, grpc_port, metrics_port, self._start_timeout_secs, self._show_progress
                )
                break
            except LaunchError:
                by_chance = run.failed_by_chance()
                run.kill()
                self._workspace.remove_regions()
                if not (left and by_chance):
                    raise
        self._videos = Videos(orders, _LOOPBACK, metrics_port)
        self._ended.clear()
        self._unwatch = threading.Event()
        self._phase = "ready"
        threading.Thread(target=self._watch, args=(run, self._videos), name="watch", daemon=True).start()

    def _watch(self, run: Tritonserver, videos: Videos) -> None:
        """Handle a process's death: have the videos ended where a model is left to do so, then kill the rest.

        Shared memory that stays full is as good as a death: only the end of all processes frees it.
        """
        if dead := run.watch(self._unwatch, lambda: [_SHARED_MEMORY] if self._shared_memory.is_given_up() else []):
            self._dead = dead
            if not {"tritonserver", "sadtalker"} & set(dead):
                with suppress(OSError):  # a disk may be broken, too; the callers see their connections close
                    videos.end(STOP if dead == [_SHARED_MEMORY] else BREAK)
            run.kill()
            self._workspace.remove_regions()
            self._ended.set()

    def _broken(self) -> bool:
        return bool(self._dead)

    def _arguments(self, backends: Path | None, metrics_port: int | None) -> list[str]:
        own: dict[str, object] = {
            "model-repository": (
                self._workspace.path / "models" if self.repository.not_installed else self._model_repository
            ),
            "model-control-mode": "none",
            "strict-readiness": "true",
            "exit-on-error": "true",
            "exit-timeout-secs": self._exit_timeout_secs,
            "allow-http": "false",
            "grpc-address": self._host,
            "grpc-port": self._ports["gRPC"],
            "grpc-infer-allocation-pool-size": 0,  # kept for reuse, 16 requests keep their buffers: of uploads, even
            "metrics-address": _LOOPBACK,
            "metrics-port": metrics_port,
            "metrics-config": "histogram_latencies=true",
        }
        if backends is not None:
            own["backend-directory"] = backends
        if self._model_config_name is not None:
            own["model-config-name"] = self._model_config_name
        if self._log_verbose:
            own["log-verbose"] = self._log_verbose
        options = [f"--{name}={value}" for name, value in own.items()]
        if self._admin_key is not None and not self._open_protocols:
            options += restriction(self._admin_key, self._extra_arguments)
        # A busy machine needs more than the usual 30 s to start a process of the Python backend.
        # Calls and responses that a fully loaded server has under way: 8 chunks, 3 of all else for each of 16 videos.
        for setting in (
            f"shm-region-prefix-name={self._workspace.region_prefix}",
            "stub-timeout-seconds=120",
            "thread-pool-size=64",
        ):
            options.append(f"--backend-config=python,{setting}")
        return [*options, "--disable-auto-complete-config", *self._extra_arguments]

    def _show_progress(self) -> None:
        if self._on_progress is not None:
            self._on_progress(len(loaded_models(self._log.text())), len(self.repository.models))

    def _clean_up(self) -> None:
        """Kill what is left, then remove its shared memory and its folder, and close the HTTP front."""
        self._unwatch.set()
        if self._run is not None:
            self._run.kill()
        self._workspace.remove()
        if self._front is not None:
            self._front.close()

    def _live(self) -> Page:
        """Return the page of liveness: no process has died. A server that starts or stops is alive."""
        dead = self.failure or (", ".join(self._running.dead()) if self._phase == "ready" else None)
        return Page(HTTPStatus.SERVICE_UNAVAILABLE, f"{dead}\n") if dead else Page(HTTPStatus.OK, "alive\n")

    def _ready(self) -> Page:
        """Return the page of readiness: a new video would be accepted. It checks the processes anew every time."""
        state = self._phase
        if state == "ready":
            if self._dead or self._running.dead():
                state = "a process died"
            elif self._shared_memory.is_full():
                state = self._shared_memory.describe()
            else:
                return Page(HTTPStatus.OK, "ready\n")
        return Page(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.failure or state}\n")

    def _metrics(self) -> Page:
        """Return Triton's metrics, which a broken server no longer has, and this launcher's own gauges."""
        ready, text = self._ready().status is HTTPStatus.OK, ""
        if self._videos is not None and not self._dead and (ready or self._phase == "stopping"):
            text = self._videos.page()
        own = (
            ("server_ready", "gauge", "Whether a video that comes now is made", int(ready)),
            ("server_dead_processes", "gauge", "Processes that died and were not yet replaced", len(self._dead)),
            ("server_restarts_total", "counter", "Starts of tritonserver after a process died", self._restarts),
        )
        for name, kind, description, value in own:
            text += f"# HELP sadtalker_{name} {description}\n# TYPE sadtalker_{name} {kind}\nsadtalker_{name} {value}\n"
        return Page(HTTPStatus.OK, text)

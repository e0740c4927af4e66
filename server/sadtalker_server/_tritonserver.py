"""One run of tritonserver: started, waited for until it is ready, watched, stopped or killed."""

import ctypes
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from sadtalker_server._errors import LaunchError
from sadtalker_server._http import get
from sadtalker_server._log import Log
from sadtalker_server._processes import Stub, find_stubs, is_alive

_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)
_STUB_DIED = "is not healthy"


class Tritonserver:
    """A tritonserver process and those of its models.

    Args:
        command, environment: of the process.
        log: takes what it prints.
        keep_open: file descriptors that all its processes inherit.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Log, keep_open: Sequence[int]
    ) -> None:
        self._log = log
        self._stubs: list[Stub] = []
        with log.open() as output:
            # A session of its own: Ctrl-C in the terminal must reach tritonserver once, as the stop that drains.
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=keep_open,
                preexec_fn=_die_with_launcher,
            )

    def wait_until_ready(
        self, host: str, grpc_port: int | None, metrics_port: int | None, timeout: float, poll: Callable[[], None]
    ) -> None:
        """Return when all models are loaded and the given ports answer; `poll` is called repeatedly.

        Raises LaunchError when the process ends or `timeout` seconds are over.
        """
        deadline = time.monotonic() + timeout
        while not _answers(host, grpc_port, metrics_port):
            if (code := self.process.poll()) is not None:
                self._log.flush()
                raise LaunchError(self._log.explain(f"tritonserver failed to start (exit code {code})"))
            if time.monotonic() > deadline:
                raise LaunchError(self._log.explain(f"tritonserver was not ready within {timeout:g} s"))
            poll()
            time.sleep(_POLL_SECONDS)
        self._stubs = find_stubs(self.process.pid)

    def failed_by_chance(self) -> bool:
        """Return whether a start failed in a way that another start need not: by a crash, its own or a model's.

        tritonserver 2.51 crashed in about one start of 25, before it had loaded any model.
        """
        code = self.process.poll()
        return code is not None and (code < 0 or _STUB_DIED in self._log.text())

    def dead(self) -> list[str]:
        """Return the names of the models whose process is dead, or "tritonserver" alone; empty while all are alive."""
        if self.process.poll() is not None:
            return ["tritonserver"]
        return [stub.model for stub in self._stubs if not is_alive(stub)]

    def watch(self, stop: threading.Event, others: Callable[[], list[str]]) -> list[str]:
        """Return what is dead, or what `others` names, as soon as something is; empty once `stop` is set."""
        while not stop.wait(_POLL_SECONDS):
            if dead := self.dead() or others():
                return dead
        return []

    def stop(self, timeout: float) -> None:
        """Ask it to end, and wait for that up to `timeout` seconds."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout)

    def kill(self) -> None:
        """Kill whatever is left of it and its models: callers see their connections close."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.flush()


def _answers(host: str, grpc_port: int | None, metrics_port: int | None) -> bool:
    """Return whether the ports (None: closed) are open, which tritonserver does once every model is loaded."""
    try:
        if grpc_port is not None:
            socket.create_connection((host, grpc_port), timeout=1).close()
        return metrics_port is None or get("127.0.0.1", metrics_port, "/metrics")[0] == 200
    except OSError:
        return False


def _die_with_launcher() -> None:
    """Have the kernel kill this new process with its launcher, which cannot stop it when it is killed itself.

    By SIGKILL: its port must be free for the next server at once, and on SIGTERM it would first fail every video.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

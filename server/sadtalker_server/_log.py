"""Captures and parses tritonserver's log: the loaded models, and the lines that explain a failure."""

import os
import re
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sadtalker_server._errors import LaunchError

_LOADED = re.compile(r"\"successfully loaded '([^']+)'")
_FAILED = re.compile(r"\"(failed to load '[^']+' version .*)\"$", re.MULTILINE)
_TAIL_LINES = 10
_KEPT_LINES = 1000
_FLUSH_SECONDS = 2.0


class Log:
    """Where tritonserver's log goes: a file, a temporary file (`log_file` None), or standard error ("stderr").

    Raises LaunchError when the file cannot be written.
    """

    def __init__(self, log_file: Path | str | None) -> None:
        self.path: Path | None = None
        self._start = 0  # of the present run, in the file
        self._kept: deque[str] = deque(maxlen=_KEPT_LINES)  # of the present run, on standard error
        self._relaying: threading.Thread | None = None
        if log_file is None:
            handle, name = tempfile.mkstemp(prefix="sadtalker-server-", suffix=".log")
            os.close(handle)
            self.path = Path(name)
        elif log_file != "stderr":
            self.path = Path(log_file)
            try:
                self.path.write_bytes(b"")
            except OSError as error:
                raise LaunchError(f"log file {log_file} cannot be written: {error.strerror}") from error

    @contextmanager
    def open(self) -> Iterator[int]:
        """Begin a new run: yield the file descriptor that the process of the run shall write to."""
        if self.path is not None:
            with self.path.open("ab") as file:
                self._start = file.tell()
                yield file.fileno()
            return
        self._kept = deque(maxlen=_KEPT_LINES)
        reading, writing = os.pipe()
        self._relaying = threading.Thread(target=_relay, args=(reading, self._kept), name="log", daemon=True)
        self._relaying.start()
        try:
            yield writing
        finally:
            os.close(writing)

    def text(self) -> str:
        """Return the log of the present run; of standard error the last 1000 lines."""
        if self.path is None:
            return "".join(list(self._kept))
        with self.path.open("rb") as file:
            file.seek(self._start)
            return file.read().decode(errors="replace")

    def explain(self, what: str) -> str:
        """Return `what` with the lines that say why, or where they stand."""
        if self.path is None:
            return f"{what}; its log above says why"
        return f"{what}:\n{telling_lines(self.text())}\nThe whole log is in {self.path}"

    def flush(self) -> None:
        """Wait until all that an ended run wrote to standard error is there."""
        if self._relaying is not None:
            self._relaying.join(_FLUSH_SECONDS)


def _relay(reading: int, kept: deque[str]) -> None:
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            kept.append(line.decode(errors="replace"))
            with suppress(OSError, ValueError):  # nobody reads standard error any more
                os.write(sys.stderr.fileno(), line)


def loaded_models(log: str) -> set[str]:
    """Return the names of the models that tritonserver has reported as loaded."""
    return set(_LOADED.findall(log))


def telling_lines(log: str) -> str:
    """Return why models failed to load, in their own words; the last lines of the log where no model did."""
    messages = [message.replace(r"\n", "\n").replace(r"\"", '"') for message in _FAILED.findall(log)]
    failures = [message.partition("\nAt:\n")[0].strip() for message in messages]  # without Python's stack
    lines = [line for line in log.splitlines() if line.strip() and not line.startswith(("|", "+"))]  # no tables
    return "\n".join(failures or lines[-_TAIL_LINES:])

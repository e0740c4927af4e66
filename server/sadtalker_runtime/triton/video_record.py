"""One line in the server's log for every video: its request id, its outcome, how long its stages took.

Lines go straight to the process's standard output, which is tritonserver's: Triton's own logger would quote them.
SADTALKER_VIDEO_LOG chooses between `json` (the default), `text` and `off`.
"""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

FORMATS = ("json", "text", "off")
LONGEST_ID = 64  # characters of a request id that are logged
LONGEST_REASON = 200


@dataclass
class VideoRecord:
    """Facts about one video while it is made."""

    request_id: str = ""
    """The request id that the client set."""
    input_bytes: dict[str, int] = field(default_factory=dict)
    """Size of every file that came with the request, by the input's name."""
    waited: float = 0.0
    """Seconds from its arrival until it had a place, or was turned away."""
    frames: int = 0
    video_bytes: int = 0
    paused: float = 0.0
    """Seconds it waited for its listener."""
    first_fragment: float | None = None
    """Seconds from the start of the work."""
    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds by stage, over all its runs: those of chunks rendered side by side add up."""
    _start: float = field(default_factory=time.perf_counter)

    def admitted(self) -> None:
        """Note that the video got its place: the work begins."""
        now = time.perf_counter()
        self.waited, self._start = now - self._start, now

    @property
    def seconds(self) -> float:
        """Return how long work on the video has taken so far."""
        return time.perf_counter() - self._start

    def fields(self, outcome: str, reason: str | None) -> dict[str, object]:
        """Return the logged fields; `reason` is the error's message, without any input of the caller."""
        rounded = {name: round(seconds, 3) for name, seconds in self.stages.items()}
        line: dict[str, object] = {
            "event": "video",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request_id": printable(self.request_id, LONGEST_ID),
            "outcome": outcome,
            "frames": self.frames,
            "bytes": self.video_bytes,
            "seconds": round(self.seconds, 3),
            "first_fragment_seconds": None if self.first_fragment is None else round(self.first_fragment, 3),
            "waited_seconds": round(self.waited, 3),
            "paused_seconds": round(self.paused, 3),
            "stage_seconds": rounded,
            "input_bytes": self.input_bytes,
        }
        if reason is not None:
            line["reason"] = printable(reason.partition(", got ")[0], LONGEST_REASON)
        return line


_current: ContextVar[VideoRecord | None] = ContextVar("video", default=None)


@contextmanager
def recording(record: VideoRecord) -> Iterator[None]:
    """Let this task and the tasks it starts add to `record`."""
    token = _current.set(record)
    try:
        yield
    finally:
        _current.reset(token)


def add_stage(name: str, seconds: float) -> None:
    """Add one run of a stage to the video that is being made in this task, if there is one."""
    if (record := _current.get()) is not None:
        record.stages[name] += seconds


def log_format() -> str:
    """Return the format that the environment asks for; raises ValueError for an unknown one."""
    chosen = os.environ.get("SADTALKER_VIDEO_LOG", "json")
    if chosen not in FORMATS:
        raise ValueError(f"SADTALKER_VIDEO_LOG: expected one of {', '.join(FORMATS)}, got {chosen!r}")
    return chosen


def write(fields: dict[str, object], how: str) -> None:
    """Write one line in the format `how`, whole: below 4 KiB a pipe takes it in one piece."""
    if how != "off":
        os.write(1, (formatted(fields, how) + "\n").encode())


def formatted(fields: dict[str, object], how: str) -> str:
    """Return the line, as JSON or as `name=value` pairs."""
    if how == "json":
        return json.dumps(fields)
    flat: dict[str, object] = {}
    for name, value in fields.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{part}": number for part, number in value.items()}
        else:
            flat[name] = value
    return " ".join(f"{name}={json.dumps(value) if isinstance(value, str) else value}" for name, value in flat.items())


def printable(text: str, longest: int) -> str:
    """Return the first characters of `text`, those outside printable ASCII as question marks."""
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text[:longest])

"""A server under attack: tiny networks, its memory, and whether it still serves."""

import shutil
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import hostile
import numpy as np
import psutil
from raw_requests import send, text
from sadtalker_export.cli import main as sadtalker_export
from sadtalker_server import Server
from sadtalker_server._processes import find_stubs

ROOT = Path(__file__).resolve().parents[1]
PORTRAIT = ROOT / "examples" / "portrait.jpg"
SERVED_SECONDS = 60.0  # for a valid request right after an attack, on a busy machine


def export_tiny(folder: Path) -> Path:
    """Return a copy of the model repository in `folder` with the networks of the `tiny` preset."""
    repository = folder / "model_repository"
    ignored = shutil.ignore_patterns("*.onnx", "exported.json")
    shutil.copytree(ROOT / "model_repository", repository, ignore=ignored)
    if code := sadtalker_export(["onnx", "--weights", "tiny", "--repository", str(repository)]):
        raise RuntimeError(f"sadtalker-export ended with {code}")
    return repository


def valid_request() -> dict[str, np.ndarray]:
    """Return the inputs of a request that a server has to serve: five frames."""
    return {"image": text(PORTRAIT.read_bytes()), "audio": text(hostile.many_channels(1, 16_000, 0.2))}


def seconds_to_serve(server: Server) -> float:
    """Make a valid request and return how long it took; raises AssertionError unless it is served and all is ready."""
    start = time.monotonic()
    answers = send(server.grpc_url, "sadtalker", valid_request(), patience=SERVED_SECONDS)
    assert answers[-1].as_numpy("frames_done").item() == 5, "a valid request got no whole video"
    assert urllib.request.urlopen(f"{server.http_url}/readyz", timeout=10).status == 200
    return time.monotonic() - start


def memory(server: Server) -> dict[str, float]:
    """Return the private memory of every process, MB, by the model's name, and that of the server's shared memory.

    Decoders add up; so do the servers that they are forked from. (The resident size would also count the pages of
    shared memory that a process has touched: in tritonserver's these are all, and more with every request for hours.)
    """
    models = {stub.pid: stub.model for stub in find_stubs(server.pid)}
    found: dict[str, float] = defaultdict(float, {"tritonserver": proc_field(server.pid, "status", "RssAnon")})
    for process in psutil.Process(server.pid).children(recursive=True):
        with suppress(OSError, ValueError):  # the process has ended, or is a zombie without memory
            found[models.get(process.pid, "decoders")] += proc_field(process.pid, "status", "RssAnon")
    found["/dev/shm"] = shared_memory(server)
    return dict(found)


def proc_field(pid: int, file: str, name: str) -> float:
    """Return a field of /proc/PID/`file`, MB."""
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 2)
    raise ValueError(f"/proc/{pid}/{file} has no {name}")


def shared_memory(server: Server) -> float:
    """Return the size of the server's regions in /dev/shm, MB."""
    regions = Path("/dev/shm").glob(f"{server._workspace.region_prefix}*")
    return sum(region.stat().st_blocks * 512 for region in regions) / 1e6


@dataclass
class MemoryWatch:
    """The memory of every process over time."""

    seconds: list[float] = field(default_factory=list)
    megabytes: dict[str, list[float]] = field(default_factory=dict)

    def add(self, seconds: float, held: dict[str, float]) -> None:
        """Add a sample; a process that is missing in it counts as 0."""
        for name in {*self.megabytes, *held}:
            series = self.megabytes.setdefault(name, [0.0] * len(self.seconds))
            series.append(round(held.get(name, 0.0), 1))
        self.seconds.append(round(seconds, 1))

    def peak(self, name: str) -> float:
        """Return the maximum of every process."""
        return max(self.megabytes[name], default=0.0)


@contextmanager
def watched(server: Server, period: float) -> Iterator[MemoryWatch]:
    """Sample the server's memory every `period` seconds."""
    watch, stop, start = MemoryWatch(), threading.Event(), time.monotonic()

    def sample() -> None:
        while True:
            watch.add(time.monotonic() - start, memory(server))
            if stop.wait(period):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join()

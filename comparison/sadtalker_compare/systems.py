"""Makes a candidate's videos, or finds them, and measures time and memory."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
from sadtalker_client import SadTalkerClient, SadTalkerError
from sadtalker_server import LaunchError, Server

from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.plan import Candidate, Clip

READY_SECONDS = 120.0
CLIP_SECONDS = 1800.0
PLAIN = "fp32"


@dataclass(frozen=True)
class Production:
    """The videos of a candidate, and the cost of making them; None where that is not known."""

    videos: dict[str, Path]
    """By clip."""
    seconds_per_frame: float | None = None
    first_fragment: float | None = None
    """Seconds, mean over the clips."""
    memory: float | None = None
    """GB, peak."""


def produce(candidate: Candidate, clips: tuple[Clip, ...], folder: Path, advance: Callable[[str], None]) -> Production:
    """Return a candidate's videos of all clips; those that a server makes are written to `folder`.

    Every clip is made twice, the first time to warm up; `advance` is called at every step with a line about it.

    Raises:
        ComparisonError: the server cannot be started or reached, or refuses a clip.
    """
    if candidate.kind == "videos":
        return Production({clip.name: Path(candidate.source) / f"{clip.name}.mp4" for clip in clips})
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _served(candidate, advance) as (url, memory), SadTalkerClient(url, timeout=CLIP_SECONDS) as client:
            client.wait_until_ready(READY_SECONDS)
            videos, frames, seconds, firsts = {}, 0, 0.0, []
            for clip in clips:
                portrait = [clip.portrait, *candidate.photos] if candidate.photos else clip.portrait
                for warm in (False, True):
                    advance(f"{clip.name}{'' if warm else ', warming up'}")
                    begun, first, parts = time.perf_counter(), None, []
                    animation = client.animate(portrait, clip.speech, **candidate.options)
                    for fragment in animation:
                        first = first or time.perf_counter() - begun
                        parts.append(fragment.data)
                        made = fragment.frames_done
                    if warm:
                        frames, seconds = frames + made, seconds + time.perf_counter() - begun
                        firsts.append(first or 0.0)
                videos[clip.name] = folder / f"{clip.name}.mp4"
                videos[clip.name].write_bytes(b"".join(parts))
            peak = memory.peak() if memory else None
            return Production(videos, seconds / frames, sum(firsts) / len(firsts), peak)
    except (LaunchError, SadTalkerError) as error:
        raise ComparisonError(f"candidate {candidate.name}: expected a video of every clip, got: {error}") from error


@contextmanager
def _served(candidate: Candidate, advance: Callable[[str], None]) -> Iterator[tuple[str, "MemoryMeter | None"]]:
    if candidate.kind == "server":
        yield candidate.source, None
        return
    advance("starting the server")
    variant = None if candidate.variant == PLAIN else candidate.variant or "auto"
    server = Server(candidate.source, model_config_name=variant)
    with server, MemoryMeter(server.pid) as meter:
        yield server.grpc_url, meter


class MemoryMeter(AbstractContextManager["MemoryMeter"]):
    """A meter of the private memory of a process and its descendants, twice a second."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryMeter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def peak(self) -> float:
        """Return the largest sum so far, GB."""
        self._read()
        return self._peak / 1e9

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            self._read()

    def _read(self) -> None:
        total = 0
        with _ignoring_ended():
            for process in [self._process, *self._process.children(recursive=True)]:
                with _ignoring_ended():
                    total += process.memory_full_info().uss
        self._peak = max(self._peak, total)


@contextmanager
def _ignoring_ended() -> Iterator[None]:
    try:
        yield
    except psutil.Error:
        return

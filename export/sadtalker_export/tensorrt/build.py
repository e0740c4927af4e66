"""Engines for this machine's GPU: the plan for each network, the cache of built ones, their installation.

Engines are kept in a cache, one folder per TensorRT version and GPU, and copied into the repository as
model.plan, or model_512.plan for pictures of 512 pixels.
"""

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from sadtalker_runtime.enhancers import ENHANCERS

from ..checkpoint.download import sha256
from ..errors import UsageError
from ..onnx.graph import metadata
from ..specs import SIZES, BatchProfile, NetworkSpec, at_size
from . import convolutions
from .engine import LEVEL, ShapeRange, TensorRT

TIMINGS = "timings.cache"
COSTS = "builds.jsonl"  # time and size of every build
ALONE = frozenset({"motion", "motion_full", "face_renderer", *(enhancer.model for enhancer in ENHANCERS.values())})
"""Networks that run the first chunk of a video alone: a second profile has kernels for a batch of one."""
MODEL, MODEL_512 = "model.onnx", "model_512.onnx"  # as `sadtalker-export onnx` names them


@dataclass(frozen=True)
class Job:
    """One engine to build: the network, its batch sizes, its graph."""

    spec: NetworkSpec
    profile: BatchProfile
    graph: Path
    plan_name: str  # file name in the cache, from the graph, the batch sizes and the level
    level: int = LEVEL

    @property
    def profiles(self) -> list[dict[str, ShapeRange]]:
        """Return the shapes of every input by profile; `profile` of the configuration counts them from 0."""
        ranges = [(self.profile.min, self.profile.opt, self.profile.max)]
        ranges += [(1, 1, 1)] if self.spec.name in ALONE else []
        return [
            {t.name: ShapeRange(*((size, *t.shape) for size in sizes)) for t in self.spec.inputs} for sizes in ranges
        ]

    @property
    def installed(self) -> Path:
        return self.graph.with_suffix(".plan")


def graph(name: str, repository: Path) -> Path:
    """Return the exported file of a network: the one for pictures of 512 pixels where `onnx --size 512` left it."""
    folder = repository / name / "1"
    large = folder / MODEL_512
    return large if large.is_file() else folder / MODEL


def job(spec: NetworkSpec, repository: Path, level: int = LEVEL) -> Job:
    """Return what to build for a network, at one of the builder's optimization levels.

    Raises `UsageError` if the repository has no such graph, or one rewritten for CPUs.
    """
    file = graph(spec.name, repository)
    spec = at_size(spec, SIZES[1]) if file.name == MODEL_512 else spec
    profile = spec.tensorrt
    assert profile is not None
    if not file.is_file():
        raise UsageError(f"{file}: not found; `sadtalker-export onnx` writes it")
    precision = metadata(file).get("precision", "unknown")
    if spec.for_cpu and precision != "fp16":
        raise UsageError(
            f"{file}: expected an export in fp16, got one in {precision} precision, which may hold the form of "
            f"{spec.name} that is made for processors; run `sadtalker-export onnx --precision fp16`"
        )
    batches = f"{profile.min}-{profile.opt}-{profile.max}" + ("-1" if spec.name in ALONE else "")
    levels = "" if level == LEVEL else f"-level{level}"
    return Job(spec, profile, file, f"{spec.name}-batch{batches}{levels}-{sha256(file)[:16]}.plan", level)


def install(job: Job, tensorrt: TensorRT, folder: Path, console: Console) -> str:
    """Put the engine into the repository, from the cache `folder` or newly built; return which, in a few words.

    Only one build at a time uses a folder: two on the same GPU would spoil each other's timings, and a process that
    waited finds the engine already built. Raises `EngineError`.
    """
    plan = folder / job.plan_name
    with _locked(folder / "lock", console):
        if plan.is_file():
            told = "from the cache"
        else:
            start = time.monotonic()
            told = _build(job, tensorrt, plan, console)
            seconds = time.monotonic() - start
            told += f", built in {seconds:.0f} s"
            _note_cost(job, plan, seconds)
        _write(job.installed, plan.read_bytes())
    return f"{told}, {plan.stat().st_size / 2**20:.0f} MiB"


def _build(job: Job, tensorrt: TensorRT, plan: Path, console: Console) -> str:
    timings = plan.with_name(TIMINGS)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as bar:
        phases = _Phases(bar, job.spec.name)
        known = timings.read_bytes() if timings.is_file() else b""
        built = tensorrt.build(job.graph, job.profiles, known, phases, job.level)
    engine = convolutions.of_engine(tensorrt.layers(built.plan, job.profiles[0]))
    if warning := convolutions.mismatch(job.spec.name, convolutions.of_graph(job.graph), engine):
        console.print(f"[yellow]warning:[/] {warning}", soft_wrap=True)
    _write(timings, built.timings)
    _write(plan, built.plan)
    return f"{engine} convolutions in half precision"


def _note_cost(job: Job, plan: Path, seconds: float) -> None:
    """Add a line to the cache's list of builds, so that the cost of levels can be compared."""
    cost = {
        "plan": plan.name,
        "network": job.spec.name,
        "level": job.level,
        "profiles": len(job.profiles),
        "seconds": round(seconds, 1),
        "bytes": plan.stat().st_size,
    }
    with plan.with_name(COSTS).open("a") as file:
        file.write(json.dumps(cost) + "\n")


class _Phases:
    """The display of a build's phases, each under the one it belongs to."""

    def __init__(self, bar: Progress, name: str) -> None:
        self._bar, self._name = bar, name
        self._tasks: dict[str, tuple[TaskID, int]] = {}

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
        title = "  " * depth + (phase if depth else f"{self._name}: {phase}")
        self._tasks[phase] = self._bar.add_task(title, total=steps), depth

    def step(self, phase: str, done: int) -> None:
        self._bar.update(self._tasks[phase][0], completed=done)

    def finish(self, phase: str) -> None:
        self._bar.remove_task(self._tasks.pop(phase)[0])


@contextmanager
def _locked(path: Path, console: Console) -> Iterator[None]:
    """Hold the lock file; the kernel releases it when the holder ends in any way."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"{path} is held by another build: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise

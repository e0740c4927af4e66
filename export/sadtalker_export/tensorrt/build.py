"""Engines for this machine's GPU: the plan for each network, the cache of built ones, their installation."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ..checkpoint.download import sha256
from ..errors import UsageError
from ..onnx.graph import metadata
from ..specs import BatchProfile, NetworkSpec
from . import convolutions
from .engine import ShapeRange, TensorRT

TIMINGS = "timings.cache"


@dataclass(frozen=True)
class Job:
    """One engine to build: the network, its batch sizes, its graph."""

    spec: NetworkSpec
    profile: BatchProfile
    graph: Path
    plan_name: str  # file name in the cache, from the graph and the batch sizes

    @property
    def inputs(self) -> dict[str, ShapeRange]:
        sizes = (self.profile.min, self.profile.opt, self.profile.max)
        return {t.name: ShapeRange(*((size, *t.shape) for size in sizes)) for t in self.spec.inputs}

    @property
    def installed(self) -> Path:
        return self.graph.with_name("model.plan")


def graph(name: str, repository: Path) -> Path:
    """Return the path of a network's graph in a model repository."""
    return repository / name / "1" / "model.onnx"


def job(spec: NetworkSpec, repository: Path) -> Job:
    """Return what to build for a network.

    Raises `UsageError` if the repository has no such graph, or the form of it that is made for processors.
    """
    profile, file = spec.tensorrt, graph(spec.name, repository)
    assert profile is not None
    if not file.is_file():
        raise UsageError(f"{file}: not found; `sadtalker-export onnx` writes it")
    precision = metadata(file).get("precision", "unknown")
    if spec.for_cpu and precision != "fp16":
        raise UsageError(
            f"{file}: expected an export in fp16, got one in {precision} precision, which may hold the form of "
            f"{spec.name} that is made for processors; run `sadtalker-export onnx --precision fp16`"
        )
    batches = f"{profile.min}-{profile.opt}-{profile.max}"
    return Job(spec, profile, file, f"{spec.name}-batch{batches}-{sha256(file)[:16]}.plan")


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
            told += f", built in {time.monotonic() - start:.0f} s"
        _write(job.installed, plan.read_bytes())
    return f"{told}, {plan.stat().st_size / 2**20:.0f} MiB"


def _build(job: Job, tensorrt: TensorRT, plan: Path, console: Console) -> str:
    timings = plan.with_name(TIMINGS)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    ) as bar:
        phases = _Phases(bar, job.spec.name)
        built = tensorrt.build(job.graph, job.inputs, timings.read_bytes() if timings.is_file() else b"", phases)
    engine = convolutions.of_engine(tensorrt.layers(built.plan, job.inputs))
    if warning := convolutions.mismatch(job.spec.name, convolutions.of_graph(job.graph), engine):
        console.print(f"[yellow]warning:[/] {warning}", soft_wrap=True)
    _write(timings, built.timings)
    _write(plan, built.plan)
    return f"{engine} convolutions in half precision"


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
    """Hold the lock file; the kernel frees it when its holder ends, however that happens."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"{path} is held by another build: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is there in whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise

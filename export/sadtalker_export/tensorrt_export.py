"""`sadtalker-export tensorrt`: engines for this machine's GPU, from the networks that `sadtalker-export onnx` left.

Engines are kept in a cache, one folder per TensorRT version and GPU, and copied into the repository as
model.plan, or model_512.plan for pictures of 512 pixels.
"""

import argparse
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

from . import tensorrt_precision as precision
from .download import sha256
from .errors import UsageError
from .gpu import current_gpu
from .restoration_specs import SERVED_SPECS
from .specs import SIZES, SPECS, BatchProfile, NetworkSpec, at_size
from .tensorrt_engine import EngineError, ShapeRange, TensorRT
from .tensorrt_operators import refusals

CACHE = Path("~/.cache/sadtalker/engines")
TIMINGS = "timings.cache"
MODEL, MODEL_512 = "model.onnx", "model_512.onnx"  # as `sadtalker-export onnx` names them


@dataclass(frozen=True)
class Job:
    """One engine to build: the network, its batch sizes, its graph."""

    spec: NetworkSpec
    profile: BatchProfile
    graph: Path
    plan_name: str  # in the cache: the same graph and batch sizes make the same engine

    @property
    def inputs(self) -> dict[str, ShapeRange]:
        sizes = (self.profile.min, self.profile.opt, self.profile.max)
        return {t.name: ShapeRange(*((size, *t.shape) for size in sizes)) for t in self.spec.inputs}

    @property
    def installed(self) -> Path:
        return self.graph.with_suffix(".plan")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="with exported networks")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where engines are kept (default: %(default)s)")
    names = [spec.name for spec in SERVED_SPECS.values() if spec.tensorrt]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"of {', '.join(names)}")
    parser.add_argument("--dry-run", action="store_true", help="tell what would be built; needs no TensorRT and no GPU")


def run(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    wanted = args.only or [name for name in SERVED_SPECS if name in SPECS or graph(name, args.repository).is_file()]
    jobs = [job(spec, args.repository) for spec in SERVED_SPECS.values() if spec.tensorrt and spec.name in wanted]
    refused = [f"{j.graph}: {reason}" for j in jobs for reason in refusals(j.graph)]
    if refused:
        raise EngineError("TensorRT takes no such nodes:\n" + "\n".join(refused))
    if args.dry_run:
        dry = Console()
        dry.print(f"{args.cache}/<TensorRT version>-<GPU>/")
        for each in jobs:
            half = precision.of_graph(each.graph)
            dry.print(f"  {each.plan_name}: {half} convolutions in half precision", soft_wrap=True)
        return 0
    tensorrt, gpu = TensorRT(), current_gpu()
    folder = args.cache.expanduser() / f"{tensorrt.version}-{gpu.key}"
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"TensorRT {tensorrt.version} on {gpu.name}, engines in {folder}")
    for each in jobs:
        console.print(f"{each.spec.name}: {install(each, tensorrt, folder, console)}")
    return 0


def graph(name: str, repository: Path) -> Path:
    """Return the exported file of a network: the one for pictures of 512 pixels where `onnx --size 512` left it."""
    folder = repository / name / "1"
    large = folder / MODEL_512
    return large if large.is_file() else folder / MODEL


def job(spec: NetworkSpec, repository: Path) -> Job:
    """What to build for a network. Raises `UsageError` if the repository has no such graph."""
    file = graph(spec.name, repository)
    spec = at_size(spec, SIZES[1]) if file.name == MODEL_512 else spec
    profile = spec.tensorrt
    assert profile is not None
    if not file.is_file():
        raise UsageError(f"{file}: not found; `sadtalker-export onnx` makes it")
    batches = f"{profile.min}-{profile.opt}-{profile.max}"
    return Job(spec, profile, file, f"{spec.name}-batch{batches}-{sha256(file)[:16]}.plan")


def install(job: Job, tensorrt: TensorRT, folder: Path, console: Console) -> str:
    """Put the engine into the repository, from the cache `folder` or newly built; tells which, in a few words.

    One build at a time uses a folder: on the same GPU two would spoil each other's timings, and who waited elsewhere
    finds the engine made. Raises `EngineError`.
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
    engine = precision.of_engine(tensorrt.layers(built.plan, job.inputs))
    precision.check(job.spec.name, precision.of_graph(job.graph), engine)
    _write(timings, built.timings)
    _write(plan, built.plan)
    return f"{engine} convolutions in half precision"


class _Phases:
    """Shows the phases of a build, each under the one it belongs to."""

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
    """Holds the lock file; the kernel frees it when its holder ends, however that is."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"{path} is held: waiting for another build")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: Path, data: bytes) -> None:
    """A file that is there in whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise

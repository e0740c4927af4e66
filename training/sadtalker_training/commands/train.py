"""`sadtalker-train`: train the demo's networks, from scratch or from where an earlier call stopped."""

import argparse
import os
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sadtalker_export.checkpoint.loading import DEMO
from sadtalker_export.errors import UsageError
from sadtalker_export.presets import PRESETS

from ..demo_weights import resume, write_demo_weights
from ..loop import Progress as TaskProgress
from ..loop import Trainer
from ..memory import keep_freed_memory
from ..tasks.expression import ExpressionTask
from ..tasks.motion import MotionTask
from ..tasks.pose import PoseTask
from ..tasks.reconstruction import ReconstructionTask
from ..tasks.renderer import RendererTask
from ..tasks.task import Task, TrainingContext

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (MotionTask, ExpressionTask, PoseTask, ReconstructionTask, RendererTask)
}
SEED = 1
REPORTED_EVERY = 30.0  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, help="stop after so many minutes; a later call resumes from there")
    parser.add_argument(
        "--snapshot",
        action="store_true",
        help="train nothing: write the weights of the state, which another process may be training",
    )
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="the parts to train, in this order"
    )
    parser.add_argument(
        "--samples",
        type=int,
        help="budget of each task in samples, over which its learning rate falls (default: its own)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=Path("out/training"),
        help="directory of the training state that a later call resumes from (default: %(default)s)",
    )
    parser.add_argument(
        "--weights", type=Path, default=DEMO, help="directory the weights are written to (default: the demo's)"
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, (os.cpu_count() or 2) - 1),
        help="processes that paint faces (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    console = Console(stderr=True)
    if args.snapshot:
        if not any(args.state.glob("*.pt")):
            raise UsageError(f"--snapshot: expected the state of an earlier call in {args.state}, found none")
        resume(DEMO, args.state)
        write_demo_weights(args.state, args.weights)
        console.print(f"weights in {args.weights}")
        return 0
    if args.minutes is None:
        raise UsageError("--minutes: expected how long to train, or --snapshot; got neither")
    if args.minutes <= 0:
        raise UsageError(f"--minutes: expected more than 0, got {args.minutes:g}")
    if args.workers < 1:
        raise UsageError(f"--workers: expected at least 1, got {args.workers}")
    deadline = time.monotonic() + 60 * args.minutes
    device = _device(args.device)
    context = TrainingContext(device, args.workers, SEED, small=device.type == "cpu")
    keep_freed_memory()
    torch.backends.cudnn.benchmark = True  # every batch has the same shapes
    resume(DEMO, args.state)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        for name in args.tasks:
            task = TASKS[name](PRESETS["demo"], context)
            if args.samples:
                task.budget = args.samples
            trainer = Trainer(task, args.state / f"{name}.pt")
            if trainer.done:
                console.print(f"{name}: done, with {trainer.progress.samples} of {task.budget} samples")
                continue
            shown = bar.add_task(name, total=task.budget, text="")
            told = time.monotonic()

            def report(standing: TaskProgress, name: str = name, shown=shown) -> None:  # type: ignore[no-untyped-def]
                nonlocal told
                text = f"{standing.samples} samples, {standing.rate:.1f}/s"
                bar.update(shown, completed=standing.samples, text=text)
                if time.monotonic() - told > REPORTED_EVERY and not console.is_terminal:
                    told = time.monotonic()
                    losses = ", ".join(f"{key} {value:.3f}" for key, value in standing.losses.items())
                    console.print(f"{name}: {text}; {losses}")

            trainer.train(deadline, report)
            with torch.no_grad():
                figures = task.evaluate(trainer.averages)
            console.print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    write_demo_weights(args.state, args.weights)
    console.print(f"weights in {args.weights}")
    return 0


def _device(name: str) -> torch.device:
    """Return the device of that name. Raises `UsageError` for one that this machine does not have."""
    if name != "cpu" and not (name.startswith("cuda") and torch.cuda.is_available()):
        found = "cpu or cuda" if torch.cuda.is_available() else "cpu, as PyTorch finds no GPU here"
        raise UsageError(f"--device: expected {found}; got {name}")
    return torch.device(name)

"""`sadtalker-evaluate`: measure in frames whether the demo's networks talk, and compare with the goals."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich import box
from rich.console import Console
from rich.table import Table
from sadtalker_export.checkpoint.loading import load_weights
from sadtalker_export.console import progress
from sadtalker_export.errors import UsageError
from sadtalker_runtime.errors import InputError

from ..evaluation.details import evaluate_details
from ..evaluation.people import evaluate_people
from ..evaluation.sentences import evaluate_sentences
from ..evaluation.sheet import contact_sheet
from ..memory import keep_freed_memory


@dataclass(frozen=True)
class Goal:
    """A bound on the figure of that name; on its absolute value if it is not `at_least`."""

    name: str
    bound: float
    unit: str = ""
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Return whether the value keeps the bound."""
        return value >= self.bound if self.at_least else abs(value) <= self.bound


QUICK = 4  # people
GOALS = (
    Goal("self_psnr", 30, "dB"),
    Goal("mouth_psnr_gain", 4, "dB"),
    Goal("jaw_correlation", 0.9),
    Goal("yaw_correlation", 0.95),
    Goal("speech_correlation", 0.6),
    Goal("speech_lag", 2, "frames", at_least=False),
    Goal("closed_lips", 0.8),
    Goal("silence_opening", 0.2, at_least=False),
    Goal("blink", 0.8),
    Goal("blink_correlation", 0.9),
    Goal("blink_lag", 1, "frames", at_least=False),
    Goal("interior_psnr", 22, "dB"),
    Goal("teeth_contrast", 0.5),
    Goal("smile_gap", 2, "pixels", at_least=False),
    Goal("outline_error_15", 6.5, at_least=False),  # half of what the first weights had
    Goal("outline_error_25", 9.7, at_least=False),
    Goal("identity_landmarks", 2, "pixels", at_least=False),
    Goal("identity_colours", 0.8),
    Goal("flicker", 1.5, at_least=False),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="demo", help="`demo`, or a directory of its preset (default: demo)")
    parser.add_argument("--people", type=int, default=12, help="held-out faces (default: %(default)s)")
    parser.add_argument("--sentences", type=int, default=6, help="held-out sentences (default: %(default)s)")
    parser.add_argument(
        "--quick", action="store_true", help="lids, teeth, smile and outline only, of the first 4 faces, in a minute"
    )
    parser.add_argument(
        "--sheet",
        type=Path,
        nargs="+",
        metavar=("PNG", "PORTRAIT"),
        help="measure nothing: show portraits that blink, say a, o and m and turn, in one picture",
    )
    parser.add_argument("--output", type=Path, help="JSON file to write the figures to")


def run(args: argparse.Namespace) -> int:
    if args.people < 1 or args.sentences < 1:
        raise UsageError(f"expected at least one person and one sentence, got {args.people} and {args.sentences}")
    if args.sheet and len(args.sheet) < 2:
        raise UsageError("--sheet: expected a file to write and at least one portrait, got only the file")
    pictures = [_read(path) for path in (args.sheet or [])[1:]]
    keep_freed_memory()
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights)
        if preset.name != "demo":
            raise UsageError(f"--weights: expected the demo preset, whose coefficients are known, got {preset.name}")
        if args.sheet:
            bar.update(task, description="portraits", total=len(pictures))
            try:
                sheet = contact_sheet(networks, pictures, lambda: bar.advance(task))
            except InputError as error:
                raise UsageError(f"--sheet: {error}") from error
            args.sheet[0].parent.mkdir(parents=True, exist_ok=True)
            args.sheet[0].write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())
            return 0
        people = min(args.people, QUICK) if args.quick else args.people
        bar.update(task, description="details", total=people)
        figures = evaluate_details(networks, people, lambda: bar.advance(task))
        record: dict[str, object] = {"people": people}
        if not args.quick:
            bar.reset(task, description="people", total=people)
            figures = evaluate_people(networks, people, lambda: bar.advance(task)) | figures
            bar.reset(task, description="sentences", total=args.sentences)
            figures |= evaluate_sentences(networks, args.sentences, lambda: bar.advance(task))
            record["sentences"] = args.sentences
    record["figures"] = figures
    if args.output:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        args.output.write_text(json.dumps(record, indent=2) + "\n")
    Console().print(table(figures))
    return 0 if all(goal.met(figures[goal.name]) for goal in GOALS if goal.name in figures) else 1


def _read(path: Path) -> bytes:
    """Return a file's bytes. Raises `UsageError` where there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"--sheet: expected a picture in {path}, got {error.strerror}") from error


def table(figures: dict[str, float]) -> Table:
    """Return the figures beside their goals."""
    result = Table("figure", "value", "goal", "", box=box.SIMPLE_HEAD)
    goals = {goal.name: goal for goal in GOALS}
    for name, value in figures.items():
        goal = goals.get(name)
        bound = f"{'>=' if goal.at_least else '<='} {goal.bound:g} {goal.unit}" if goal else ""
        result.add_row(
            name, f"{value:.3f}", bound, ("[green]met[/]" if goal.met(value) else "[red]not met[/]") if goal else ""
        )
    return result

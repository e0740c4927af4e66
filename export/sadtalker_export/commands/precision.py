"""`sadtalker-export precision`: compare frames in reduced precision with the same frames in single precision.

Two clips of one portrait are rendered, one in which only the expression moves and one in which only the head does. With
`--enhancer` the faces in some pictures are restored instead.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from ..checkpoint.loading import OFFICIAL, load_weights
from ..console import progress
from ..errors import UsageError
from ..precision.engines import ENGINES, eager, half
from ..precision.enhancer import ENHANCER, judge
from ..precision.gate import PORTRAIT, is_synthetic, passes
from ..precision.metrics import FACE_LIMITS, LIMITS, Limit, compare
from ..precision.portraits import pictures, portrait
from ..precision.verdict import clips
from ..specs import FRAMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo`, or `tiny`",
    )
    parser.add_argument("--precision", required=True, choices=ENGINES, help="the precision to compare with fp32")
    parser.add_argument(
        "--frames", type=int, default=10, help="frames per clip, in whole chunks of 5 (default: %(default)s)"
    )
    parser.add_argument("--portrait", type=Path, default=PORTRAIT, help="a picture of one face (default: the example)")
    parser.add_argument(
        "--enhancer",
        type=Path,
        nargs="+",
        metavar="PICTURE",
        help="instead of rendering, restore the faces in these pictures and directories of pictures (fp16 only)",
    )


def run(args: argparse.Namespace) -> int:
    return judge_restored(args) if args.enhancer else judge_rendered(args)


def judge_rendered(args: argparse.Namespace) -> int:
    if args.frames < FRAMES:
        raise UsageError(f"--frames: expected at least {FRAMES}, got {args.frames}")
    with progress(Console(stderr=True)) as bar:
        task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights)
        bar.update(task, description="rendering")
        speaking, turning = clips(networks, args.precision, args.portrait, args.frames // FRAMES)
    values = compare(speaking, turning)
    judged = not is_synthetic(networks)
    result = Console()
    result.print(table(values, LIMITS, judged, f"{args.precision} against fp32, {preset.name} preset"))
    if not judged:
        result.print("These weights are synthetic and amplify noise: the figures are reported, not judged.")
    return 1 if judged and not passes(values, LIMITS) else 0


def judge_restored(args: argparse.Namespace) -> int:
    if args.precision != "fp16":
        raise UsageError(f"--enhancer goes with --precision fp16, got {args.precision}: it has no other reduced form")
    portraits = {path: portrait(path) for path in pictures(args.enhancer)}
    verdicts = []
    with progress(Console(stderr=True)) as bar, torch.no_grad():
        task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights)
        if not networks.keys() >= ENHANCER.keys():
            raise UsageError(f"--weights {args.weights}: expected the face enhancer's file among them, found none")
        exact, reduced = eager(networks, ENHANCER), half(networks, ENHANCER)
        for path, (face, landmarks) in portraits.items():
            bar.update(task, description=f"restoring {path.name}")
            values = judge(exact, reduced, face, landmarks)
            Console().print(table(values, FACE_LIMITS, True, f"{path.name}, fp16 against fp32, {preset.name} preset"))
            verdicts.append(passes(values, FACE_LIMITS))
    return 0 if all(verdicts) else 1


def table(values: Mapping[str, float], limits: Sequence[Limit], judged: bool, title: str) -> Table:
    result = Table("figure", "value", "limit", "", title=title, box=box.SIMPLE_HEAD)
    for limit in limits:
        value = values[limit.name]
        verdict = ("[green]ok[/]" if limit.keeps(value) else "[red]over[/]") if judged else ""
        bound = f"{'>=' if limit.at_least else '<='} {limit.bound:g} {limit.unit}"
        result.add_row(limit.name, f"{value:.4g}", bound, verdict)
    return result

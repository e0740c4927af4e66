"""`sadtalker-export onnx`: export the networks to ONNX, check them against PyTorch, install them for Triton."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from sadtalker_runtime.manifest import PORTABLE, ManifestError, read_manifest
from sadtalker_runtime.processor import this_processor
from torch import nn

from ..checkpoint.loading import OFFICIAL, load_weights
from ..console import add_repository_argument, progress
from ..errors import UsageError
from ..onnx.dependencies import weights_digest
from ..onnx.repository import PRECISIONS, export_repository
from ..precision.gate import PORTRAIT, is_synthetic
from ..precision.verdict import passes_bf16
from ..rewrites.parts import Choice
from ..specs import SIZE, SIZES, SPECS, at_size
from ..tactics import cache as tactics
from ..tactics.choose import check_complete, choose, measure

AUTO = "auto"
MEASURED = "measured"
TACTICS_FILE = "tactics.json"  # in the model repository
SECONDS = 180.0
RENDERER = "face_renderer"  # the network whose layers have several forms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo` for small trained networks "
        "in this package, or `tiny` for smaller ones with synthetic weights",
    )
    add_repository_argument(parser, "Triton model repository")
    parser.add_argument(
        "--precision",
        choices=(*PRECISIONS, AUTO),
        default="fp32",
        help="fp32: for CPUs; fp16: half precision inside the networks that gain from it, for GPUs; bf16: fp32, "
        "and the files that `sadtalker-server --model-config-name bf16` runs on a CPU; auto: bf16 where this processor "
        "computes in it and these weights pass its gate, else fp32 (default: fp32)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES,
        default=SIZE,
        help="edge of the rendered picture in pixels, each with its own checkpoint; "
        "`sadtalker-server --model-config-name 512` runs 512 (default: 256)",
    )
    parser.add_argument(
        "--tactics",
        default=PORTABLE,
        metavar=f"{PORTABLE}|{MEASURED}|FILE",
        help=f"forms of the layers: {PORTABLE} ones that pay on most processors; {MEASURED} on this machine, which "
        f"keeps the figures in REPOSITORY/{TACTICS_FILE}; or a file of such figures (default: %(default)s)",
    )
    parser.add_argument(
        "--tactics-seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help=f"about how long to measure; another export with --tactics {MEASURED} goes on (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    if args.size != SIZE and args.precision == "bf16":
        raise UsageError(f"--precision bf16 goes with --size {SIZE}, got {args.size}")
    if args.tactics != PORTABLE and args.precision == "fp16":
        raise UsageError(f"--tactics {args.tactics} goes with the precisions of processors, got fp16")
    if args.tactics_seconds < 0:
        raise UsageError(f"--tactics-seconds: expected at least 0, got {args.tactics_seconds:g}")
    console = Console(stderr=True)
    with progress(console) as bar:
        loading_task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights, args.size)
        bar.update(loading_task, total=1, completed=1)
        precision, why, gates = args.precision, "", known_gates(args.repository, networks)
        if precision == AUTO:
            precision, why, gates = best_precision(networks, args.size, gates, bar)
        choices = chosen_forms(args, networks, precision, bar)
        exported = export_repository(
            networks, preset.name, args.repository, bar, precision, args.size, choices=choices, gates=gates
        )
    kind = f"{preset.name}, {args.size} pixels, {precision}{why}"
    console.print(f"{len(exported)} networks ({kind}) in {args.repository}", soft_wrap=True)
    return 0


def known_gates(repository: Path, networks: Mapping[str, nn.Module]) -> dict[str, bool]:
    """Return the verdicts on reduced precisions of an earlier export of the same weights."""
    try:
        found = read_manifest(repository)
    except ManifestError:
        return {}
    return dict(found.gates) if found.weights == weights_digest(networks) else {}


def best_precision(
    networks: Mapping[str, nn.Module], size: int, gates: Mapping[str, bool], bar: Progress
) -> tuple[str, str, dict[str, bool]]:
    """Return the precision that is fastest on this processor and passes its gate, the reason, and the gates known."""
    known = dict(gates)
    if not this_processor().computes_bf16:
        return "fp32", ": this processor does not compute in bf16", known
    if size != SIZE:
        return "fp32", f": bf16 has no form for {size} pixels", known
    if is_synthetic(networks):
        return "fp32", ": synthetic weights cannot be judged in bf16", known
    if "bf16" not in known and not PORTRAIT.is_file():
        return "fp32", f": {PORTRAIT} is missing, bf16 cannot be judged", known
    if "bf16" not in known:
        task = bar.add_task("judging frames in bf16", total=1)
        known["bf16"] = passes_bf16(networks)
        bar.advance(task)
    if not known["bf16"]:
        return "fp32", ": these weights do not pass the gate of bf16", known
    return "bf16", ": this processor computes in it, and these weights pass its gate", known


def chosen_forms(
    args: argparse.Namespace, networks: Mapping[str, nn.Module], precision: str, bar: Progress
) -> dict[str, Choice]:
    """Return the forms that `--tactics` asks for by precision; nothing for the portable ones.

    Raises `TacticsError` for a file that was measured elsewhere, or for other networks.
    """
    if args.tactics == PORTABLE:
        return {}
    spec = at_size(SPECS[RENDERER], args.size)
    module = spec.build(networks).eval()
    precisions = ("bf16", "fp32") if precision == "bf16" else ("fp32",)  # the served one first
    here = tactics.Circumstances.here()
    if args.tactics == MEASURED:
        path = args.repository / TACTICS_FILE
        cache = tactics.read_or_new(path, here)
        try:
            measure(cache, spec, module, precisions, args.tactics_seconds, bar)
        finally:
            cache.write(path)
    else:
        path = Path(args.tactics)
        cache = tactics.read(path, here)
        for each in precisions:
            check_complete(cache, path, spec, module, each)
    return {each: choose(cache, spec, module, each) for each in precisions}

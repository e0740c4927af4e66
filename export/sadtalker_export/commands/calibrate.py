"""`sadtalker-export calibrate`: the renderer with an 8-bit decoder, calibrated on portraits and recordings.

Writes one ONNX file with explicit Q/DQ around the decoder's convolutions, judges its frames as `precision` does, and
compares its speed with that of the fp32 and bf16 files for this processor, in turns. Exit code 1: frames exceed a
limit; the file is kept, and `--keep` may help. No configuration serves the file.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

import onnx
import onnxruntime
from rich.console import Console
from sadtalker_runtime.processor import this_processor
from torch import nn

from ..checkpoint.loading import OFFICIAL, load_weights
from ..console import progress
from ..errors import UsageError
from ..onnx.graph import export
from ..precision import calibration, quantization
from ..precision.engines import eager, openvino_session, session_engine
from ..precision.forms import in_precision
from ..precision.gate import PORTRAIT, REDUCED, is_synthetic, passes
from ..precision.metrics import LIMITS, compare
from ..precision.portraits import pictures
from ..precision.verdict import clips_of
from ..rewrites.for_cpu import portable
from ..rewrites.parts import Choice
from ..specs import FRAMES, SPECS
from ..tactics.cache import Circumstances
from .precision import table

RENDERER = "face_renderer"
ROUNDS = 7
HINTS = {"fp32": "f32", "bf16": "bf16"}
"""Precision of a file -> what OpenVINO calls it."""
Ratios = Mapping[str, Mapping[str, tuple[float, float, float]]]
"""Precision of the file compared with -> clock, processor -> median, smallest and largest of the rounds' ratios."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo`, or `tiny`",
    )
    parser.add_argument(
        "--portraits", type=Path, nargs="+", required=True, metavar="PICTURE", help="pictures and directories of them"
    )
    parser.add_argument(
        "--recordings", type=Path, nargs="+", required=True, metavar="SOUND", help="recordings and directories of them"
    )
    parser.add_argument("--dtype", choices=quantization.DTYPES, default="int8", help="fp8: E4M3 (default: %(default)s)")
    parser.add_argument(
        "--rest", choices=HINTS, default="fp32", help="what computes outside of the decoder; bf16: with int8 alone"
    )
    parser.add_argument("--chunks", type=int, default=16, help="of 5 frames, to take ranges on (default: %(default)s)")
    parser.add_argument(
        "--keep",
        nargs="*",
        default=list(quantization.KEPT),
        metavar="NAME",
        help="beginnings of the names of weights that stay in fp32 (default: %(default)s)",
    )
    parser.add_argument("--frames", type=int, default=10, help="per clip that is judged (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("out/face_renderer_int8.onnx"), help="the file to write")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write verdict and times to a JSON file, too")


def run(args: argparse.Namespace) -> int:
    if args.chunks < 1:
        raise UsageError(f"--chunks: expected at least 1, got {args.chunks}")
    if args.frames < FRAMES:
        raise UsageError(f"--frames: expected at least {FRAMES}, got {args.frames}")
    if args.rest == "bf16" and args.dtype != "int8":
        raise UsageError(f"--rest bf16 goes with --dtype int8, got {args.dtype}: OpenVINO knows no 8-bit floats")
    portraits, speech = pictures(args.portraits), calibration.recordings(args.recordings)
    spec = SPECS[RENDERER]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with progress(Console(stderr=True)) as bar, tempfile.TemporaryDirectory(prefix="sadtalker-calibrate-") as folder:
        task = bar.add_task("loading weights", total=5)
        preset, networks = load_weights(args.weights)
        bar.update(task, advance=1, description="exporting")
        plain = Path(folder) / "plain.onnx"
        module = spec.build(networks)
        export(spec, in_precision(spec, module, "bf16", around(module))[0] if args.rest == "bf16" else module, plain)
        served = {name: Path(folder) / f"{name}.onnx" for name in HINTS if name == "fp32" or bf16_here()}
        for name, path in served.items():
            export(spec, in_precision(spec, module, name)[0], path)
        bar.update(task, advance=1, description=f"calibrating on {args.chunks} chunks")
        feeds = calibration.feeds(networks, portraits, speech, args.chunks)
        count = quantization.quantize(plain, args.output, feeds, args.dtype, args.keep)
        bar.update(task, advance=1, description="judging frames")
        accelerated = args.dtype == "int8"  # OpenVINO knows no 8-bit floats on a processor
        reduced = openvino_session(args.output, HINTS[args.rest]) if accelerated else cpu_session(args.output)
        speaking, turning = clips_of(
            networks, eager(networks, REDUCED), session_engine(networks, REDUCED, RENDERER, reduced), PORTRAIT,
            args.frames // FRAMES,
        )  # fmt: skip
        values = compare(speaking, turning)
        bar.update(task, advance=1, description="timing")
        feed = next(calibration.feeds(networks, portraits[:1], speech[:1], 1))
        references = {name: openvino_session(path, HINTS[name]) for name, path in served.items() if accelerated}
        ratios = times_as_fast(references, reduced, feed)
        bar.advance(task)
    result, judged = Console(), not is_synthetic(networks)
    rest = f", the rest in {args.rest}," if accelerated else ""
    result.print(table(values, LIMITS, judged, f"decoder in {args.dtype}{rest} against fp32, {preset.name} preset"))
    narrow = quantization.quantized_convolutions(onnx.load(args.output, load_external_data=False))
    result.print(f"{args.output}: {narrow} of {count} chosen convolutions in {args.dtype}", soft_wrap=True)
    for name, found in ratios.items():
        for by, (median, low, high) in found.items():
            result.print(
                f"in OpenVINO here {median:.2f} ({low:.2f} to {high:.2f}) times as fast as the {name} file, by the {by}"
            )
    if not judged:
        result.print("These weights are synthetic and amplify noise: the figures are reported, not judged.")
    passed = passes(values, LIMITS)
    if args.report:
        report = {
            "what": "the decoder in 8 bits: frames against fp32, and times as fast as other files, in turns",
            **{key: getattr(args, key) for key in ("dtype", "rest", "chunks", "frames", "keep")},
            "preset": preset.name,
            "date": datetime.now(timezone.utc).date().isoformat(),
            "processor": asdict(Circumstances.here()),
            "load": round(os.getloadavg()[0], 2),
            "convolutions": {"chosen": count, "narrow": narrow},
            "figures": {limit.name: round(values[limit.name], 6) for limit in LIMITS},
            "passes": passed if judged else None,
            "times_as_fast": ratios,
            "times_are": f"median, smallest and largest of {ROUNDS} rounds",
        }
        args.report.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if judged and not passed else 0


def around(module: nn.Module) -> Choice:
    """Return the forms of a processor's bf16 file for all but the decoder, whose convolutions stay plain."""
    return {name: part for name, part in portable(module, "bf16").items() if name != "decoder"}


def bf16_here() -> bool:
    """Return whether this processor computes in bf16, so that a server would run such files."""
    return this_processor().computes_bf16


def cpu_session(path: Path) -> onnxruntime.InferenceSession:
    """Return a session on ONNX Runtime's own kernels, which emulate 8-bit layers in fp32."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # else it makes integer nodes of 8-bit floats
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def times_as_fast(
    references: Mapping[str, onnxruntime.InferenceSession], other: onnxruntime.InferenceSession, feed: calibration.Feed
) -> Ratios:
    """Return how many times as fast `other` runs a chunk as every reference does, all in turn.

    By the clock, and by the time that all processors took, which other programs on the machine change less.
    """
    sessions = {**references, "": other}
    for session in sessions.values():
        session.run(None, feed)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for _ in range(ROUNDS if references else 0):
        for name, session in sessions.items():
            start, computed = time.perf_counter(), time.process_time()
            session.run(None, feed)
            taken[name].append((time.perf_counter() - start, time.process_time() - computed))
    found = {}
    for name in references:
        pairs = list(zip(taken[name], taken[""], strict=True))
        found[name] = {by: _spread([a[i] / b[i] for a, b in pairs]) for i, by in enumerate(("clock", "processor"))}
    return found


def _spread(values: list[float]) -> tuple[float, float, float]:
    """Return median, smallest and largest."""
    return round(statistics.median(values), 3), round(min(values), 3), round(max(values), 3)

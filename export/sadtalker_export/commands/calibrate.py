"""`sadtalker-export calibrate`: the renderer with an 8-bit decoder, calibrated on portraits and recordings.

Writes one ONNX file with explicit Q/DQ around the decoder's convolutions, judges its frames as `precision` does, and
compares its speed with that of the fp32 file for this processor, in turns. Exit code 1: frames exceed a limit; the
file is kept, and `--keep` may help. No configuration serves the file.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import onnx
import onnxruntime
from rich.console import Console

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
from ..specs import FRAMES, SPECS
from .precision import table

RENDERER = "face_renderer"
ROUNDS = 5


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


def run(args: argparse.Namespace) -> int:
    if args.chunks < 1:
        raise UsageError(f"--chunks: expected at least 1, got {args.chunks}")
    if args.frames < FRAMES:
        raise UsageError(f"--frames: expected at least {FRAMES}, got {args.frames}")
    portraits, speech = pictures(args.portraits), calibration.recordings(args.recordings)
    spec = SPECS[RENDERER]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with progress(Console(stderr=True)) as bar, tempfile.TemporaryDirectory(prefix="sadtalker-calibrate-") as folder:
        task = bar.add_task("loading weights", total=5)
        preset, networks = load_weights(args.weights)
        bar.update(task, advance=1, description="exporting")
        plain, served = Path(folder) / "plain.onnx", Path(folder) / "served.onnx"
        export(spec, spec.build(networks), plain)
        export(spec, in_precision(spec, spec.build(networks), "fp32")[0], served)
        bar.update(task, advance=1, description=f"calibrating on {args.chunks} chunks")
        feeds = calibration.feeds(networks, portraits, speech, args.chunks)
        count = quantization.quantize(plain, args.output, feeds, args.dtype, args.keep)
        bar.update(task, advance=1, description="judging frames")
        accelerated = args.dtype == "int8"  # OpenVINO knows no 8-bit floats on a processor
        reduced = openvino_session(args.output, "f32") if accelerated else cpu_session(args.output)
        speaking, turning = clips_of(
            networks, eager(networks, REDUCED), session_engine(networks, REDUCED, RENDERER, reduced), PORTRAIT,
            args.frames // FRAMES,
        )  # fmt: skip
        values = compare(speaking, turning)
        bar.update(task, advance=1, description="timing")
        feed = next(calibration.feeds(networks, portraits[:1], speech[:1], 1))
        ratios = times_as_fast(openvino_session(served, "f32"), reduced, feed) if accelerated else []
        bar.advance(task)
    result, judged = Console(), not is_synthetic(networks)
    result.print(table(values, LIMITS, judged, f"decoder in {args.dtype} against fp32, {preset.name} preset"))
    narrow = quantization.quantized_convolutions(onnx.load(args.output, load_external_data=False))
    result.print(f"{args.output}: {narrow} of {count} chosen convolutions in {args.dtype}", soft_wrap=True)
    if ratios:
        median, low, high = statistics.median(ratios), min(ratios), max(ratios)
        result.print(f"in OpenVINO here {median:.2f} ({low:.2f} to {high:.2f}) times as fast as the fp32 file")
    if not judged:
        result.print("These weights are synthetic and amplify noise: the figures are reported, not judged.")
    return 1 if judged and not passes(values, LIMITS) else 0


def cpu_session(path: Path) -> onnxruntime.InferenceSession:
    """Return a session on ONNX Runtime's own kernels, which emulate 8-bit layers in fp32."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # else it makes integer nodes of 8-bit floats
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def times_as_fast(
    reference: onnxruntime.InferenceSession, other: onnxruntime.InferenceSession, feed: calibration.Feed
) -> list[float]:
    """Return how many times as fast as `reference` the session `other` runs a chunk, from alternating rounds."""
    sessions = (reference, other)
    for session in sessions:
        session.run(None, feed)
    ratios = []
    for _ in range(ROUNDS):
        seconds = []
        for session in sessions:
            start = time.perf_counter()
            session.run(None, feed)
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    return ratios

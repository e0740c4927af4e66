"""`sadtalker-export precision`: the same frames in single and in reduced precision, and whether they still agree.

Two clips of one portrait are rendered, one in which only the expression moves and one in which only the head does. With
`--enhancer` the faces in some pictures are restored instead.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from .checkpoint import synthetic
from .enhancer_gate import ENHANCER, judge
from .errors import UsageError
from .networks.audio2exp import EXPRESSION
from .networks.motion import WINDOW
from .onnx_export import OFFICIAL, load_weights, progress
from .portraits import pictures, portrait
from .precision_engines import ENGINES, Engine, Networks, eager, half
from .precision_metrics import FACE_LIMITS, LIMITS, Frames, Limit, compare
from .specs import COEFFICIENTS, FRAMES, SPECS

REDUCED = {name: SPECS[name] for name in ("appearance_encoder", "face_renderer")}
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"
SIZE = 256
# A face crop around the box of OpenCV's cascade: its left, top and side, in sides of the box.
CROP_LEFT, CROP_TOP, CROP_SIDE = -0.24, -0.32, 1.51
SAMPLE_KEY = "generator.first.conv.weight"  # of the checkpoint: the weights of the appearance encoder's stem


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo`, or `tiny`",
    )
    parser.add_argument("--precision", required=True, choices=ENGINES, help="the precision to compare with fp32")
    parser.add_argument("--frames", type=int, default=10, help="per clip, whole chunks of 5 (default: %(default)s)")
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
    image = face_crop(args.portrait)
    console = Console(stderr=True)
    with (
        progress(console) as bar,
        torch.no_grad(),
        tempfile.TemporaryDirectory(prefix="sadtalker-precision-") as folder,
    ):
        task = bar.add_task("loading weights", total=None)
        preset, networks = load_weights(args.weights)
        clips: list[tuple[Frames, Frames]] = []
        engines = (eager(networks, REDUCED), ENGINES[args.precision](networks, REDUCED, Path(folder)))
        for name, part in (("speaking", slice(EXPRESSION)), ("turning", slice(EXPRESSION, EXPRESSION + 3))):
            bar.update(task, description=f"rendering, {name}")
            windows = coefficient_windows(args.frames // FRAMES, part)
            exact, other = (render(engine, networks["motion"], image, windows) for engine in engines)
            clips.append((exact, other))
    values = compare(*clips)
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


def passes(values: Mapping[str, float], limits: Sequence[Limit]) -> bool:
    return all(limit.keeps(values[limit.name]) for limit in limits)


def table(values: Mapping[str, float], limits: Sequence[Limit], judged: bool, title: str) -> Table:
    result = Table("figure", "value", "limit", "", title=title, box=box.SIMPLE_HEAD)
    for limit in limits:
        value = values[limit.name]
        verdict = ("[green]ok[/]" if limit.keeps(value) else "[red]over[/]") if judged else ""
        bound = f"{'>=' if limit.at_least else '<='} {limit.bound:g} {limit.unit}"
        result.add_row(limit.name, f"{value:.4g}", bound, verdict)
    return result


def is_synthetic(networks: Networks) -> bool:
    """Whether these are the made-up weights of `checkpoint.synthetic`, told by one tensor of them."""
    weight = networks["appearance_encoder"].state_dict()["stem.conv.weight"].numpy()
    return bool(np.array_equal(weight, synthetic.tensor(SAMPLE_KEY, weight.shape)))


def face_crop(path: Path) -> Tensor:
    """The most confident face of a picture, framed as portraits are: float32 [1, 3, 256, 256], RGB in [0, 1]."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise UsageError(f"{path}: expected a picture, found none that can be read")
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).with_name("data") / "haarcascade_frontalface_default.xml"))
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    boxes, _, confidences = cascade.detectMultiScale3(grey, minNeighbors=5, outputRejectLevels=True)
    if len(boxes) == 0:
        raise UsageError(f"{path}: expected a frontal face, found none")
    left, top, side, _ = boxes[int(np.argmax(confidences))]
    scale = SIZE / (CROP_SIDE * side)
    shift = (-scale * (left + CROP_LEFT * side), -scale * (top + CROP_TOP * side))
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    crop = cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return torch.from_numpy(crop[:, :, ::-1].copy()).permute(2, 0, 1).unsqueeze(0) / 255


def coefficient_windows(chunks: int, part: slice) -> Tensor:
    """Windows [chunks, FRAMES, COEFFICIENTS, WINDOW] in which some coefficients swing and the others rest at zero.

    Expression swings four times a second by one standard deviation, as speech does; angles once by 0.25 radians.
    """
    rate, amplitude = (4.0, 1.0) if part.start is None else (1.0, 0.25)
    seconds = torch.arange(chunks * FRAMES + WINDOW - 1).unsqueeze(1) / 25
    coefficients = torch.zeros(len(seconds), COEFFICIENTS)
    phases = torch.arange(COEFFICIENTS)[part]
    coefficients[:, part] = amplitude * torch.sin(2 * torch.pi * rate * seconds + phases)
    return coefficients.unfold(0, WINDOW, 1).reshape(chunks, FRAMES, COEFFICIENTS, WINDOW)


def render(engine: Engine, motion: nn.Module, image: Tensor, windows: Tensor) -> Frames:
    """Frames uint8 [T, 256, 256, 3] of a portrait under windows of coefficients, chunk by chunk."""
    appearance, canonical = engine("appearance_encoder", (image,))
    source = motion(canonical, torch.zeros_like(windows[:1, :1]))[:, 0]
    chunks = [
        engine("face_renderer", (appearance, source, motion(canonical, window)))[0][0]
        for window in windows.unsqueeze(1)
    ]
    return torch.cat(chunks).numpy()

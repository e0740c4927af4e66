"""`sadtalker-export precision`: the same frames in single and in reduced precision, and whether they still agree.

Two clips of one portrait are rendered, one in which only the expression moves and one in which only the head does. bf16
is what OpenVINO computes from the exported graphs. fp16 is computed here as tensor cores do, every result rounded to
float16 and sums in float32: ONNX Runtime on a CPU would leave out roundings between operations.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from .checkpoint import synthetic
from .errors import UsageError
from .networks.audio2exp import EXPRESSION
from .networks.motion import WINDOW
from .onnx_export import OFFICIAL, export, load_weights, progress, reduced
from .precision_metrics import LIMITS, Frames, compare
from .specs import COEFFICIENTS, FRAMES, SPECS

REDUCED = ("appearance_encoder", "face_renderer")
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"
SIZE = 256
# A face crop around the box of OpenCV's cascade: its left, top and side, in sides of the box.
CROP_LEFT, CROP_TOP, CROP_SIDE = -0.24, -0.32, 1.51
SAMPLE_KEY = "generator.first.conv.weight"  # of the checkpoint: the weights of the appearance encoder's stem

Networks = Mapping[str, nn.Module]
Engine = Callable[[str, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""Runs the network of that name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        required=True,
        help=f"a directory of checkpoint files, `official` for {OFFICIAL}, `demo`, or `tiny`",
    )
    parser.add_argument("--precision", required=True, choices=ENGINES, help="the precision to compare with fp32")
    parser.add_argument("--frames", type=int, default=10, help="per clip, whole chunks of 5 (default: %(default)s)")
    parser.add_argument("--portrait", type=Path, default=PORTRAIT, help="a picture of one face (default: the example)")


def run(args: argparse.Namespace) -> int:
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
        engines = (eager(networks), ENGINES[args.precision](networks, Path(folder)))
        for name, part in (("speaking", slice(EXPRESSION)), ("turning", slice(EXPRESSION, EXPRESSION + 3))):
            bar.update(task, description=f"rendering, {name}")
            windows = coefficient_windows(args.frames // FRAMES, part)
            exact, other = (render(engine, networks["motion"], image, windows) for engine in engines)
            clips.append((exact, other))
    values = compare(*clips)
    judged = not is_synthetic(networks)
    result = Console()
    result.print(table(values, judged, f"{args.precision} against fp32, {preset.name} preset"))
    if not judged:
        result.print("These weights are synthetic and amplify noise: the figures are reported, not judged.")
    return 1 if judged and not passes(values) else 0


def passes(values: Mapping[str, float]) -> bool:
    return all(limit.keeps(values[limit.name]) for limit in LIMITS)


def table(values: Mapping[str, float], judged: bool, title: str) -> Table:
    result = Table("figure", "value", "limit", "", title=title, box=box.SIMPLE_HEAD)
    for limit in LIMITS:
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


def eager(networks: Networks) -> Engine:
    """PyTorch in float32."""
    modules = {name: SPECS[name].build(networks).eval() for name in REDUCED}
    return lambda name, inputs: _outputs(modules[name](*inputs))


def half(networks: Networks, _: Path) -> Engine:
    """The modules of an fp16 export, each result rounded to float16."""
    modules = {name: reduced(SPECS[name], SPECS[name].build(networks), "fp16")[0] for name in REDUCED}

    def engine(name: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        with RoundEachResult():  # type: ignore[no-untyped-call]
            return _outputs(modules[name](*inputs))

    return engine


def bfloat(networks: Networks, folder: Path) -> Engine:
    """The files of a bf16 export, run as `configs/bf16.pbtxt` has them run."""
    provider = "OpenVINOExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise UsageError("--precision bf16: expected the package onnxruntime-openvino, found an onnxruntime without it")
    settings = json.dumps({"CPU": {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": "1"}})
    sessions = {}
    for name in REDUCED:
        path = folder / f"{name}.onnx"
        export(SPECS[name], reduced(SPECS[name], SPECS[name].build(networks), "bf16")[0], path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = [(provider, {"device_type": "CPU", "load_config": settings})]
        sessions[name] = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)

    def engine(name: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        feed = {spec.name: value.numpy() for spec, value in zip(SPECS[name].inputs, inputs, strict=True)}
        return tuple(map(torch.from_numpy, sessions[name].run([spec.name for spec in SPECS[name].outputs], feed)))

    return engine


ENGINES = {"fp16": half, "bf16": bfloat}


class RoundEachResult(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operations on float16 compute in float32, and what they answer in float16 is rounded once.

    So do tensor cores. PyTorch has no float16 kernels on a CPU for some of the operations, and slow ones for others.
    """

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        dtypes = {x.dtype for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.is_floating_point()}
        if torch.float16 not in dtypes or func._overloadpacket is torch.ops.aten._to_copy:
            return func(*args, **kwargs)
        answer = func(*tree_map(_single, args), **tree_map(_single, kwargs))
        return tree_map(_half, answer) if dtypes == {torch.float16} else answer


def _single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value


def _half(value: Any) -> Any:
    return value.half() if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def _outputs(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)

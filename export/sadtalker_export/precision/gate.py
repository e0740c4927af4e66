"""The clips that a reduced precision is judged on, and the portrait they show."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import synthetic
from ..errors import UsageError
from ..networks.motion import WINDOW
from ..specs import COEFFICIENTS, FRAMES, SPECS
from .engines import Engine, Networks
from .metrics import Frames, Limit

REDUCED = {name: SPECS[name] for name in ("appearance_encoder", "face_renderer")}
SIZE = 256
PORTRAIT = Path(str(files("sadtalker_runtime") / "examples" / "portrait.jpg"))
# A face crop around the box of OpenCV's cascade: its left, top and side, in sides of the box.
CROP_LEFT, CROP_TOP, CROP_SIDE = -0.24, -0.32, 1.51
SAMPLE_KEY = "generator.first.conv.weight"  # of the checkpoint: the weights of the appearance encoder's stem


def passes(values: Mapping[str, float], limits: Sequence[Limit]) -> bool:
    """Return whether every value keeps its limit."""
    return all(limit.keeps(values[limit.name]) for limit in limits)


def is_synthetic(networks: Networks) -> bool:
    """Return whether these are the made-up weights of `checkpoint.synthetic`, judged by one tensor."""
    weight = networks["appearance_encoder"].state_dict()["stem.conv.weight"].numpy()
    return bool(np.array_equal(weight, synthetic.tensor(SAMPLE_KEY, weight.shape)))


def face_crop(path: Path) -> Tensor:
    """Return the most confident face of a picture, framed as portraits are: float32 [1, 3, 256, 256], RGB in [0, 1]."""
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
    """Return windows [chunks, FRAMES, COEFFICIENTS, WINDOW]: some coefficients swing, the others rest at zero.

    Expression swings four times a second by one standard deviation, as speech does; angles once by 0.25 radians.
    """
    rate, amplitude = (4.0, 1.0) if part.start is None else (1.0, 0.25)
    seconds = torch.arange(chunks * FRAMES + WINDOW - 1).unsqueeze(1) / 25
    coefficients = torch.zeros(len(seconds), COEFFICIENTS)
    phases = torch.arange(COEFFICIENTS)[part]
    coefficients[:, part] = amplitude * torch.sin(2 * torch.pi * rate * seconds + phases)
    return coefficients.unfold(0, WINDOW, 1).reshape(chunks, FRAMES, COEFFICIENTS, WINDOW)


def render(engine: Engine, motion: nn.Module, image: Tensor, windows: Tensor) -> Frames:
    """Render frames uint8 [T, 256, 256, 3] of a portrait under windows of coefficients, chunk by chunk."""
    appearance, canonical = engine("appearance_encoder", (image,))
    source = motion(canonical, torch.zeros_like(windows[:1, :1]))[:, 0]
    chunks = [
        engine("face_renderer", (appearance, source, motion(canonical, window)))[0][0]
        for window in windows.unsqueeze(1)
    ]
    return torch.cat(chunks).numpy()

"""Random requests, valid and not, from a seed: hostile files, options of every type, cancels, and time-outs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import hostile
import numpy as np
from attacked_server import valid_request
from raw_requests import UnansweredError, send, text
from tritonclient.utils import InferenceServerException

OWN_WORDS = ("INVALID_ARGUMENT: ", "UNAVAILABLE: ", "ABORTED: ")
TRITON_WORDS = (  # in messages of Triton itself, before or instead of the model's
    "[request id: ",  # begins what it says of tensors that do not fit the configuration
    "timeout expired",
    "Exceeds maximum queue size",
    "cancelled",
    "CANCELLED",
)
TEXTS = (b"", b"crop", b"full", b"none", b"gfpgan", b"realesrgan", b"\xff\xfe", b"x" * 5000, b"\n\0", "grün".encode())
NUMBERS = (0, -1, 1, 0.5, 3, 1e-45, 1e20, -1e30, np.nan, np.inf, -np.inf, 46, 600.04)
INTEGERS = (0, -1, 1, 2, 45, 46, 2**31 - 1, -(2**31))
OPTIONS: Mapping[str, type] = {
    "pose_style": np.int32,
    "expression_scale": np.float32,
    "head_motion_scale": np.float32,
    "still": np.bool_,
    "seed": np.int64,
    "blink": np.bool_,
    "blink_rate": np.float32,
    "idle": np.float32,
    "settle": np.float32,
    "preview": np.bool_,
    "poster": np.bool_,
    "size": np.int32,
    "crop": np.object_,
    "face_index": np.int32,
    "enhance": np.object_,
    "background": np.object_,
}


@dataclass(frozen=True)
class Request:
    """A request to the model `sadtalker`, with its purpose."""

    kind: str
    inputs: dict[str, np.ndarray]
    must_be_served: bool = False
    timeout: float | None = None
    cancel_after: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a request ended."""

    kind: str
    ended: str
    """served, cancelled, refused, or the name of the finding."""
    message: str = ""

    @property
    def is_finding(self) -> bool:
        """Whether this is a finding."""
        return self.ended not in ("served", "cancelled", "refused")


def try_request(url: str, request: Request, patience: float = 120.0) -> Outcome:
    """Make a request and judge how it ends: no request may hang, and no refusal may be the server's own failure."""
    try:
        send(
            url,
            "sadtalker",
            request.inputs,
            request.timeout,
            patience=patience,
            cancel_after=request.cancel_after,
        )
    except UnansweredError as error:
        return Outcome(request.kind, "unanswered", str(error))
    except InferenceServerException as error:
        message = str(error.message())
        if request.must_be_served:
            return Outcome(request.kind, "valid but refused", message)
        if "failed: " in message or (not message.startswith(OWN_WORDS) and not _is_tritons(message)):
            return Outcome(request.kind, "failed", message)
        if len(message) > 1000:
            return Outcome(request.kind, "long message", message[:1000])
        return Outcome(request.kind, "refused", message)
    return Outcome(request.kind, "served" if request.cancel_after is None else "cancelled")


def _is_tritons(message: str) -> bool:
    return any(word in message for word in TRITON_WORDS)


@dataclass
class Requests:
    """Makes requests of every kind, each with its weight.

    A kind that further models bring, such as live sessions, is added with `add`.
    """

    seed: int
    kinds: dict[str, tuple[float, Callable[[np.random.Generator], Request]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._base = valid_request()
        self._files = {
            "image": list(hostile.pictures().values()),
            "audio": list(hostile.recordings().values()),
            "driving": list(hostile.videos().values()),
        }
        self._face = text(hostile.face_video())
        self.add("valid", 4, self._valid)
        self.add("valid poster", 1, lambda _: Request("", self._base | {"poster": np.ones((1, 1), bool)}, True))
        self.add("valid driving", 1, lambda _: Request("", {"image": self._base["image"], "driving": self._face}, True))
        for name in self._files:
            self.add(f"hostile {name}", 2, lambda random, name=name: self._hostile_file(name, random))
        self.add("options", 4, self._options)
        self.add("key frames", 1, self._key_frames)
        self.add("cancel", 2, self._cancelled)
        self.add("time-out", 1, lambda random: Request("", self._base, timeout=float(random.uniform(1e-6, 0.3))))

    def add(self, kind: str, weight: float, make: Callable[[np.random.Generator], Request]) -> None:
        """Add a kind of request."""
        self.kinds[kind] = weight, make

    def next(self) -> Request:
        """Return a request of a random kind."""
        weights = np.array([weight for weight, _ in self.kinds.values()])
        kind = self._random.choice(list(self.kinds), p=weights / weights.sum())
        return self.of(kind)

    def of(self, kind: str) -> Request:
        """Return a request of this kind."""
        made = self.kinds[kind][1](self._random)
        return Request(kind, made.inputs, made.must_be_served, made.timeout, made.cancel_after)

    def _valid(self, random: np.random.Generator) -> Request:
        seconds = random.uniform(0.1, 0.8)
        speech = hostile.many_channels(int(random.integers(1, 17)), int(random.choice([8000, 16_000, 48_000])), seconds)
        return Request("", self._base | {"audio": text(speech)}, True)

    def _hostile_file(self, name: str, random: np.random.Generator) -> Request:
        files = self._files[name]
        return Request("", self._base | {name: text(files[random.integers(len(files))])})

    def _options(self, random: np.random.Generator) -> Request:
        names = random.choice(list(OPTIONS), random.integers(1, 4), replace=False)
        inputs = dict(self._base)
        for name in names:
            inputs[name] = _value(OPTIONS[name], random)
        if "idle" in names and random.random() < 0.7:
            del inputs["audio"]
            inputs["idle"] = np.minimum(inputs["idle"], 3)  # a loop of 600 s would be served
        return Request("", inputs)

    def _key_frames(self, random: np.random.Generator) -> Request:
        count = int(random.choice([0, 1, 2, 5, 10_000, 10_001]))
        scale = float(random.choice([1, 1e20, 1e-45, 0.01]))
        values = np.sort(random.random((1, count, 2)) * scale, axis=1).astype(np.float32)
        if random.random() < 0.2 and count:
            values[0, random.integers(count)] = random.choice([np.nan, np.inf, -1])
        return Request("", self._base | {str(random.choice(["yaw", "pitch", "roll"])): values})

    def _cancelled(self, random: np.random.Generator) -> Request:
        inputs = {"image": self._base["image"], "idle": np.array([[20]], np.float32)}
        return Request("", inputs, cancel_after=int(random.integers(0, 6)))


def _value(kind: type, random: np.random.Generator) -> np.ndarray:
    choices: Any = TEXTS if kind is np.object_ else NUMBERS if kind is np.float32 else INTEGERS
    shape = [(1, 1), (1, 1), (1, 1), (1, 2), (2, 1), (1, 0)][random.integers(6)]
    values = [choices[random.integers(len(choices))] for _ in range(shape[0] * shape[1])]
    with np.errstate(over="ignore"):
        return np.array(values, kind).reshape(shape)

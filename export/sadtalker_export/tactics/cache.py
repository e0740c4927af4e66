"""The file of measured forms: which form of which layer took how long on which machine.

A measurement holds for one processor, engine and list of forms. A file of another is stale: it is refused when somebody
names it, and measured again when it is the exporter's own.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
from sadtalker_runtime.processor import this_processor

from ..errors import UsageError
from ..onnx.dependencies import PACKAGE

FORMAT = 1
ERROR_LIMITS = {"fp32": 1e-4, "bf16": 1e-2}
"""Largest root mean square error of a form, of the exact result's own root mean square."""


class TacticsError(UsageError):
    """A file of tactics that cannot be used here; the message says why."""


@dataclass(frozen=True)
class Timing:
    """The measured time of a form, and how far its result is off the plain form's in fp32 (see ERROR_LIMITS)."""

    ms: float
    error: float


Timings = dict[str, Timing]
"""`<order> <form>` -> its timing."""


@dataclass(frozen=True)
class Circumstances:
    """All that a measurement depends on, beside the layer."""

    processor: str
    extensions: tuple[str, ...]
    cores: int
    engine: str
    forms: str

    @classmethod
    def here(cls) -> "Circumstances":
        """Return those of this machine and installation."""
        processor = this_processor()
        digest = hashlib.sha256()
        for path in sorted((PACKAGE / "rewrites").glob("*.py")):
            digest.update(path.read_bytes())
        engine = f"onnxruntime-openvino {onnxruntime.__version__}"
        return cls(processor.name, processor.extensions, processor.cores, engine, digest.hexdigest()[:16])

    def differences(self, other: "Circumstances") -> list[str]:
        """Return what differs from another machine or installation, in words."""
        mine, theirs = asdict(self), asdict(other)
        return [f"{name} {theirs[name]!r} instead of {mine[name]!r}" for name in mine if mine[name] != theirs[name]]


@dataclass
class Cache:
    """Timings by layer and precision: `layers[description][precision]`.

    `wholes` has what whole networks took with all chosen forms, and with the portable ones, by choice and precision.
    """

    circumstances: Circumstances
    layers: dict[str, dict[str, Timings]] = field(default_factory=dict)
    wholes: dict[str, dict[str, float]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the file; a reader sees the old one or the new one."""
        content = {
            "format": FORMAT,
            "measured_on": asdict(self.circumstances),
            "unit": "ms is milliseconds per chunk, the best of some; error is root mean square, relative",
            "layers": {
                name: {
                    precision: {form: asdict(timing) for form, timing in sorted(timings.items(), key=_milliseconds)}
                    for precision, timings in sorted(precisions.items())
                }
                for name, precisions in sorted(self.layers.items())
            },
            "wholes": dict(sorted(self.wholes.items())),
        }
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            partial.write_text(json.dumps(content, indent=1) + "\n")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def read(path: Path, here: Circumstances) -> Cache:
    """Return a file's measurements. Raises `TacticsError` where it cannot be read or was measured elsewhere."""
    try:
        content = json.loads(path.read_text())
        cache = _parsed(content)
    except OSError as error:
        raise TacticsError(f"{path}: expected a file of tactics, cannot read it ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TacticsError(f"{path}: expected a file of tactics, cannot read it ({error!r})") from error
    if differences := here.differences(cache.circumstances):
        raise TacticsError(f"{path} is stale, it was measured with {'; '.join(differences)}")
    return cache


def read_or_new(path: Path, here: Circumstances) -> Cache:
    """Return a file's measurements, or none where it is missing or stale."""
    try:
        return read(path, here)
    except TacticsError:
        return Cache(here)


def _milliseconds(entry: tuple[str, Timing]) -> float:
    return entry[1].ms


def _parsed(content: Mapping[str, Any]) -> Cache:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, expected {FORMAT}")
    on = content["measured_on"]
    circumstances = Circumstances(
        str(on["processor"]), tuple(map(str, on["extensions"])), int(on["cores"]), str(on["engine"]), str(on["forms"])
    )
    layers = {
        str(name): {
            str(precision): {str(form): Timing(float(t["ms"]), float(t["error"])) for form, t in timings.items()}
            for precision, timings in precisions.items()
        }
        for name, precisions in content["layers"].items()
    }
    wholes = {str(k): {str(n): float(ms) for n, ms in v.items()} for k, v in content["wholes"].items()}
    return Cache(circumstances, layers, wholes)

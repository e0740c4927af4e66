"""The manifest of a model repository: the exported networks, their weights and their files.

The exporter writes it, the launcher checks the repository against it. It needs the standard library alone.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "exported.json"
FORMAT = 2
METADATA = "sadtalker."
"""Prefix of the metadata keys in an exported file that record its provenance."""
PORTABLE = "portable"
BF16_MODEL = "model_bf16.onnx"
"""File of a network in the form that is computed in bf16; it lies beside the one in fp32."""


class ManifestError(Exception):
    """A manifest that is missing or cannot be used; the message says which file and why."""


@dataclass(frozen=True)
class ExportedFile:
    """One file of a network, as the exporter wrote it."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Everything one export wrote, and what it was made from."""

    preset: str
    """The set of layer widths: `official`, `demo` or `tiny`."""
    weights: str
    """SHA-256 over the weights."""
    precision: str
    """The precision that was asked for: `fp32`, `fp16` or `bf16`."""
    size: int
    """Edge of the rendered picture in pixels."""
    exporter: str
    """SHA-256 over the sources and the versions that shape a graph."""
    models: Mapping[str, Mapping[str, ExportedFile]]
    """Model name -> file name in its folder `1` -> what was written."""
    tactics: str = PORTABLE
    """`portable`, or the digest of the forms of layers that were measured on one machine."""
    gates: Mapping[str, bool] = field(default_factory=dict)
    """Reduced precision -> whether these weights passed its gate; those that were not judged are absent."""

    def precision_of(self, file: str) -> str:
        """Return the precision of a file of this export: a bf16 export has files in fp32, too."""
        if file == BF16_MODEL:
            return "bf16"
        return "fp16" if self.precision == "fp16" else "fp32"

    def provenance(self, file: str) -> dict[str, str]:
        """Return the metadata of a file of this export, in this order."""
        return {
            "preset": self.preset,
            "weights": self.weights,
            "precision": self.precision_of(file),
            "size": str(self.size),
            "exporter": self.exporter,
            **({} if self.tactics == PORTABLE else {"tactics": self.tactics}),
        }

    def paths(self, repository: Path) -> dict[Path, ExportedFile]:
        """Return where the files lie in a repository."""
        return {
            repository / name / "1" / file: entry
            for name, files in self.models.items()
            for file, entry in files.items()
        }

    def is_complete(self, repository: Path) -> bool:
        """Return whether every file is there, at its full size."""
        return all(
            path.is_file() and path.stat().st_size == entry.bytes for path, entry in self.paths(repository).items()
        )


def read_manifest(repository: Path) -> Manifest:
    """Return the manifest of a model repository.

    Raises `ManifestError` where there is none, where it is of another format, or where it cannot be read.
    """
    path = repository / MANIFEST
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is missing") from error
    except (OSError, ValueError) as error:
        raise ManifestError(f"{path} cannot be read ({error!r})") from error
    if not isinstance(content, dict):
        raise ManifestError(f"{path} cannot be read (expected an object, got {type(content).__name__})")
    found = content.get("format", 1)
    if found != FORMAT:
        raise ManifestError(
            f"{path} has format {found!r}, expected {FORMAT}: another version wrote it, export the networks again"
        )
    try:
        return _parsed(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{path} cannot be read ({error!r})") from error


def write_manifest(repository: Path, manifest: Manifest) -> None:
    """Write the manifest of a model repository; a reader sees the old one or the new one, never a part."""
    models = {
        name: {"files": {file: asdict(entry) for file, entry in files.items()}}
        for name, files in manifest.models.items()
    }
    content = {
        "format": FORMAT,
        "preset": manifest.preset,
        "weights": manifest.weights,
        "precision": manifest.precision,
        "size": manifest.size,
        "exporter": manifest.exporter,
        "tactics": manifest.tactics,
        "gates": dict(manifest.gates),
        "models": models,
    }
    with tempfile.NamedTemporaryFile("w", dir=repository, prefix=f".{MANIFEST}.", delete=False) as file:
        try:
            file.write(json.dumps(content, indent=2) + "\n")
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            Path(file.name).replace(repository / MANIFEST)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _parsed(content: dict[str, Any]) -> Manifest:
    models = {
        str(name): {
            str(file): ExportedFile(int(entry["bytes"]), str(entry["sha256"])) for file, entry in model["files"].items()
        }
        for name, model in content["models"].items()
    }
    return Manifest(
        preset=str(content["preset"]),
        weights=str(content["weights"]),
        precision=str(content["precision"]),
        size=int(content["size"]),
        exporter=str(content["exporter"]),
        models=models,
        tactics=str(content.get("tactics", PORTABLE)),
        gates={str(precision): bool(passed) for precision, passed in content.get("gates", {}).items()},
    )

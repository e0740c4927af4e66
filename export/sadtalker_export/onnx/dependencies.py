"""The digests that tell whether an exported file is up to date: of the weights, and of the exporter's sources."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from torch import nn

PACKAGE = Path(__file__).parents[1]
SOURCES = (
    "networks/*.py",
    "rewrites/*.py",
    "precision/forms.py",
    "onnx/graph.py",
    "presets.py",
    "specs.py",
    "restoration_specs.py",
    "checkpoint/networks.py",
)
"""Patterns of the files, relative to the package, on which the graph of an exported file depends."""
DISTRIBUTIONS = ("torch", "onnx", "onnxscript")
"""Installed distributions on which it also depends."""


def weights_digest(networks: Mapping[str, nn.Module]) -> str:
    """Return the SHA-256 over all weights: two exports of the same checkpoint have the same."""
    digest = hashlib.sha256()
    for name in sorted(networks):
        for key, value in sorted(networks[name].state_dict().items()):
            digest.update(f"{name}.{key}".encode())
            digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def exporter_digest(package: Path = PACKAGE) -> str:
    """Return the SHA-256 over `SOURCES` and the versions of `DISTRIBUTIONS`: a change may change the graphs."""
    digest = hashlib.sha256()
    for name in DISTRIBUTIONS:
        public = version(name).partition("+")[0]  # PyTorch's builds for CPU and GPU write the same graphs
        digest.update(f"{name}=={public}\0".encode())
    for path in sources(package):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def sources(package: Path = PACKAGE) -> list[Path]:
    """Return the files that `SOURCES` names, in a fixed order. Raises `FileNotFoundError` for a pattern without any."""
    found: list[Path] = []
    for pattern in SOURCES:
        files = sorted(package.glob(pattern))
        if not files:
            raise FileNotFoundError(f"{package / pattern}: no such source")
        found += files
    return found

"""Reference figures, the producers they need, and the difference between the two."""

import importlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..errors import UsageError
from .bench import Array, Bench, Figures
from .registry import PRODUCERS, Producer, Tolerance

for _group in ("preparation", "sadtalker", "restoration"):  # modules that register producers, in the order they are run
    importlib.import_module(f".{_group}", __package__)


@dataclass(frozen=True)
class Row:
    """One compared array: the engine that computed it, and its distance from the figure."""

    array: str
    engine: str
    difference: float  # NaN where either holds NaN, infinite where shapes differ
    tolerance: Tolerance

    @property
    def passed(self) -> bool:
        """Return whether the difference is within the tolerance."""
        return self.difference <= self.tolerance.value


def load(path: Path) -> Figures:
    """Load the arrays of a file. Raises `UsageError` for a file that holds no arrays."""
    if not path.is_file():
        raise UsageError(f"{path}: not found")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise UsageError(f"{path}: not a readable .npz file of arrays ({error})") from error


def planned(figures: Figures) -> list[Producer]:
    """Return the producers that a file needs. Raises `UsageError` for an array that none of them makes."""
    wanted = [name for name in figures if not any(p.inputs.fullmatch(name) for p in PRODUCERS)]
    if unknown := [name for name in wanted if not any(p.arrays.fullmatch(name) for p in PRODUCERS)]:
        raise UsageError(f"no producer computes {', '.join(map(repr, unknown))}")
    if not wanted:
        raise UsageError(f"the figures hold nothing to compare, only {', '.join(map(repr, figures)) or 'no arrays'}")
    return [p for p in PRODUCERS if any(p.arrays.fullmatch(name) for name in wanted)]


def compare(bench: Bench, producer: Producer, runtime: str) -> list[Row]:
    """Compute the arrays of one producer and compare those that the figures hold."""
    engine = producer.engine(runtime)
    tolerance = producer.tolerances[engine]
    with torch.no_grad():
        values = {name: np.asarray(value, np.float64) for name, value in producer.compute(bench).items()}
    names = [name for name in bench.figures if producer.arrays.fullmatch(name)]
    return [Row(n, engine, difference(bench.figures[n], values[n], tolerance), tolerance) for n in names]


def difference(figure: Array, value: npt.NDArray[np.float64], tolerance: Tolerance) -> float:
    """Return the largest absolute difference, in the tolerance's unit."""
    if figure.shape != value.shape:
        return float("inf")
    expected = figure.astype(np.float64)
    largest = float(np.abs(expected - value).max(initial=0.0))
    return largest / float(expected.std()) if tolerance.relative else largest

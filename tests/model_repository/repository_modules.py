"""Imports the modules beside a `model.py`, as Triton does, without Triton."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

REPOSITORY = Path(__file__).parents[2] / "model_repository"
FIGURES = Path(__file__).parent / "figures"


def load(model: str, module: str) -> ModuleType:
    """Module `module` of version 1 of a model; its relative imports work, and models do not meet."""
    package = f"repository_{model}"
    if package not in sys.modules:
        sys.modules[package] = ModuleType(package)
        sys.modules[package].__path__ = [str(REPOSITORY / model / "1")]
    return importlib.import_module(f"{package}.{module}")


def figures(name: str) -> dict[str, np.ndarray]:
    """Arrays of figures/<name>.npz: parts of the reference figures that SadTalker itself computed."""
    with np.load(FIGURES / f"{name}.npz") as file:
        return dict(file)

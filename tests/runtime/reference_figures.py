"""Parts of the reference figures that SadTalker itself computed, as the tests carry them."""

from pathlib import Path

import numpy as np

FIGURES = Path(__file__).parent / "figures"


def figures(name: str) -> dict[str, np.ndarray]:
    """Load the arrays of `figures/<name>.npz`."""
    with np.load(FIGURES / f"{name}.npz") as file:
        return dict(file)

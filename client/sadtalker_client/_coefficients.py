"""Coefficients of frames: their names, their files and a plot of them."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ._exceptions import InvalidInputError, ProtocolError
from ._files import atomic_write

COEFFICIENTS = (*(f"expression_{index:02d}" for index in range(64)), "pitch", "yaw", "roll", "x", "y", "z")
"""Columns of coefficients: 64 of the expression, the head's angles (radians) and its place."""
FRAMES_PER_SECOND = 25
_PLOTTED = {"first expressions": range(3), "angles, radians": range(64, 67), "place": range(67, 70)}


def read_coefficients(answer: bytes, url: str) -> npt.NDArray[np.float32]:
    """Return the array in a server's answer, float32 [frames, 70]."""
    try:
        values = np.load(io.BytesIO(answer), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ProtocolError(f"expected a NumPy file with coefficients from {url}, got {len(answer)} bytes") from error
    if values.dtype != np.float32 or values.ndim != 2 or values.shape[1] != len(COEFFICIENTS):
        raise ProtocolError(f"expected float32 [frames, 70] from {url}, got {values.dtype} {list(values.shape)}")
    coefficients: npt.NDArray[np.float32] = values
    return coefficients


def save_coefficients(path: str | os.PathLike[str], values: npt.NDArray[np.float32]) -> None:
    """Write an NPZ file with `coefficients` [frames, 70] and their `names`; it appears when it is complete."""
    with atomic_write(path) as file:
        np.savez_compressed(file, coefficients=values, names=np.array(COEFFICIENTS))


def load_coefficients(path: str | os.PathLike[str]) -> npt.NDArray[np.float32]:
    """Return the coefficients in an NPZ file; raises InvalidInputError for one without, or with others."""
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            values, names = file["coefficients"], file["names"].tolist()
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"coefficients: expected an NPZ file of coefficients and names, got {path}") from error
    if names != list(COEFFICIENTS) or values.ndim != 2 or values.shape[1] != len(COEFFICIENTS):
        raise InvalidInputError(
            f"coefficients: expected [frames, 70] with the columns {COEFFICIENTS[0]} to {COEFFICIENTS[-1]}, "
            f"got {list(values.shape)} in {path}"
        )
    return np.asarray(values, np.float32)


def plot_coefficients(path: str | os.PathLike[str], values: npt.NDArray[np.float32]) -> None:
    """Draw a PNG picture of expression, angles and place over time; raises InvalidInputError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InvalidInputError("plot: expected matplotlib to be installed (pip install matplotlib)") from error
    figure = Figure(figsize=(9, 6), layout="constrained")
    seconds = np.arange(len(values)) / FRAMES_PER_SECOND
    for axes, (title, columns) in zip(figure.subplots(len(_PLOTTED), sharex=True), _PLOTTED.items(), strict=True):
        for column in columns:
            axes.plot(seconds, values[:, column], label=COEFFICIENTS[column])
        axes.set_ylabel(title)
        axes.legend(loc="upper right", fontsize="small")
    axes.set_xlabel("seconds")
    with atomic_write(path) as file:
        figure.savefig(file, format="png")

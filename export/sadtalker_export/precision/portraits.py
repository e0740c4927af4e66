"""Faces in pictures, found and cropped by the server's own code."""

from collections.abc import Iterable
from pathlib import Path

import torch
from PIL import Image
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.portrait.finder import cascade_finder
from sadtalker_runtime.portrait.picture import FORMATS
from sadtalker_runtime.portrait.preparation import prepare
from torch import Tensor

from ..errors import UsageError


def pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and the pictures in given directories. Raises `UsageError` for one without any."""
    extensions = Image.registered_extensions()
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if extensions.get(p.suffix.lower()) in FORMATS)
        if not inside:
            raise UsageError(f"{path}: expected pictures in this directory, found none ({', '.join(FORMATS)})")
        found += inside
    return found


def portrait(path: Path) -> tuple[Tensor, Tensor]:
    """Cut the clearest face out of a picture, framed as by the server without learned detectors.

    Returns the face float32 [1, 3, 256, 256], RGB in [0, 1], and its landmarks float32 [1, 5, 2] in pixels of it: left
    and right eye, tip of the nose, left and right corner of the mouth. Raises `UsageError` where there is no face.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected a picture, found no file")
    try:
        found = prepare(path.read_bytes(), cascade_finder())
    except InputError as error:
        raise UsageError(f"{path}: {str(error).removeprefix('image: ')}") from error
    return torch.from_numpy(found.face)[None], torch.from_numpy(found.landmarks)[None]

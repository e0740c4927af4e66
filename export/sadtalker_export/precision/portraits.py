"""Faces in pictures, found and cut out by the code that the server runs."""

from collections.abc import Iterable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from ..repository_modules import repository_module


def pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and the pictures in given directories. Raises `UsageError` for one without any."""
    extensions = Image.registered_extensions()
    formats = repository_module("portrait_crop", "picture").FORMATS
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if extensions.get(p.suffix.lower()) in formats)
        if not inside:
            raise UsageError(f"{path}: expected pictures in this directory, found none ({', '.join(formats)})")
        found += inside
    return found


def portrait(path: Path) -> tuple[Tensor, Tensor]:
    """Cut the clearest face out of a picture, framed as by the server without learned detectors.

    Returns the face float32 [1, 3, 256, 256], RGB in [0, 1], and its landmarks float32 [1, 5, 2] in pixels of it: left
    and right eye, tip of the nose, left and right corner of the mouth. Raises `UsageError` where there is no face.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected a picture, found no file")
    finder = repository_module("portrait_crop", "finder").FaceFinder(None, lambda _model: False)
    errors = repository_module("portrait_crop", "errors")
    try:
        found = repository_module("portrait_crop", "portrait").prepare(path.read_bytes(), finder)
    except errors.InputError as error:
        raise UsageError(f"{path}: {str(error).removeprefix('image: ')}") from error
    return torch.from_numpy(found.face)[None], torch.from_numpy(found.landmarks)[None]

"""The verdict on weights in bf16: the gate of `sadtalker-export precision`, without its table."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from ..networks.audio2exp import EXPRESSION
from .engines import ENGINES, Engine, eager
from .gate import PORTRAIT, REDUCED, coefficient_windows, face_crop, passes, render
from .metrics import LIMITS, Frames, compare

CHUNKS = 2  # per clip


def clips(
    networks: Mapping[str, nn.Module], precision: str, portrait: Path, chunks: int
) -> list[tuple[Frames, Frames]]:
    """Return frames in fp32 and in a reduced precision, of a clip that speaks and of one that turns."""
    with tempfile.TemporaryDirectory(prefix="sadtalker-precision-") as folder:
        other = ENGINES[precision](networks, REDUCED, Path(folder))
        return clips_of(networks, eager(networks, REDUCED), other, portrait, chunks)


@torch.no_grad()
def clips_of(
    networks: Mapping[str, nn.Module], exact: Engine, reduced: Engine, portrait: Path, chunks: int
) -> list[tuple[Frames, Frames]]:
    """Return frames of both engines, of a clip that speaks and of one that turns."""
    image, found = face_crop(portrait), []
    for part in (slice(EXPRESSION), slice(EXPRESSION, EXPRESSION + 3)):
        windows = coefficient_windows(chunks, part)
        first, second = (render(engine, networks["motion"], image, windows) for engine in (exact, reduced))
        found.append((first, second))
    return found


def passes_bf16(networks: Mapping[str, nn.Module]) -> bool:
    """Return whether frames of the example portrait in bf16 keep every limit of the gate."""
    speaking, turning = clips(networks, "bf16", PORTRAIT, CHUNKS)
    return passes(compare(speaking, turning), LIMITS)

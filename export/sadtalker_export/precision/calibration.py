"""Realistic inputs of the renderer: the portraits in a folder, speaking the recordings in a folder."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from sadtalker_runtime.animation import windows
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.audio import decode
from sadtalker_runtime.portrait.finder import cascade_finder
from sadtalker_runtime.portrait.preparation import prepare
from sadtalker_runtime.speech import blinks, pose
from sadtalker_runtime.speech.clip import Clip
from torch import Tensor, nn

from ..errors import UsageError
from ..specs import SPECS

MAX_SECONDS = 600
SOUNDS = {".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus", ".webm", ".mp4"}
Networks = Mapping[str, nn.Module]
Feed = dict[str, Array]


def recordings(paths: Sequence[Path]) -> list[Path]:
    """Return the given files, and the recordings in given directories. Raises `UsageError` for one without any."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SOUNDS) if path.is_dir() else [path]
        if not inside:
            raise UsageError(f"{path}: expected recordings in this directory, found none ({', '.join(sorted(SOUNDS))})")
        found += inside
    return found


@torch.no_grad()
def feeds(networks: Networks, portraits: Sequence[Path], speech: Sequence[Path], chunks: int) -> Iterator[Feed]:
    """Yield the renderer's inputs for `chunks` chunks, by tensor name, in batches of one.

    Every portrait speaks the next recording, in turn until there are enough; its chunks lie all over the recording, and
    each pair has a pose style of its own. Raises `UsageError` for a file that cannot be used.
    """
    pairs = max(len(portraits), len(speech))
    each, rest = divmod(chunks, pairs)
    encoded = {path: _portrait(networks, path) for path in portraits}
    for index, (picture, sound) in enumerate(zip(cycle(portraits), cycle(speech), strict=False)):
        if index == pairs:
            return
        count = each + (index < rest)
        if count:
            style = index % pose.STYLES
            yield from _speaking(networks, encoded[picture], _waveform(sound), style, count)


def _speaking(
    networks: Networks, portrait: tuple[Tensor, Tensor, Array], waveform: Array, style: int, count: int
) -> Iterator[Feed]:
    appearance, canonical, source = portrait
    clip = Clip(waveform, source, style, 0)
    coefficients = _coefficients(networks, clip)
    motion = networks["motion"]
    [source_keypoints] = motion(canonical, torch.from_numpy(windows.source_windows(source)[None, :1].copy()))
    chosen = np.linspace(0, windows.chunk_count(clip.frames) - 1, count).round().astype(int)
    for chunk in chosen:
        seen = torch.from_numpy(windows.chunk_windows(coefficients, int(chunk), clip.frames)[None].copy())
        yield {
            "appearance": appearance.numpy(),
            "source_keypoints": source_keypoints.numpy(),
            "driving_keypoints": motion(canonical, seen).numpy(),
        }


def _portrait(networks: Networks, path: Path) -> tuple[Tensor, Tensor, Array]:
    """Return a portrait's appearance, canonical keypoints and coefficients."""
    try:
        found = prepare(path.read_bytes(), cascade_finder())
    except InputError as error:
        raise UsageError(f"{path}: {str(error).removeprefix('image: ')}") from error
    appearance, canonical = SPECS["appearance_encoder"].build(networks)(torch.from_numpy(found.face)[None])
    reconstruction = networks["face_reconstruction"](torch.from_numpy(found.aligned_face)[None])
    return appearance, canonical, windows.source_coefficients(reconstruction[0].numpy())


def _waveform(path: Path) -> Array:
    try:
        return decode(path.read_bytes(), MAX_SECONDS).waveform
    except InputError as error:
        raise UsageError(f"{path}: {str(error).removeprefix('audio: ')}") from error


def _coefficients(networks: Networks, clip: Clip) -> Array:
    """Return all coefficients of a clip, float32 [frames, 70]."""
    frames = clip.frames
    guides = clip.guides(frames, blinks.blink_curve(frames, 0))
    heard = clip.expression_inputs(0, frames, guides)
    expression = networks["audio2exp"](*(torch.from_numpy(heard[t.name]) for t in SPECS["audio2exp"].inputs))
    chunks = pose.pose_chunks(*pose.smoothing_range(0, frames, frames), frames)
    inputs = clip.pose_inputs(chunks)
    moved = networks["audio2pose"](*(torch.from_numpy(inputs[t.name]) for t in SPECS["audio2pose"].inputs))
    poses = clip.pose(0, frames, chunks, moved.numpy())
    return np.concatenate([expression.numpy(), poses], 1, dtype=np.float32)

"""Speech to head motion: audio2pose learns gentle curves that its latent draws, with nods where speech is loud.

The network decodes a latent. Its target is a formula, so no encoder has to be trained with it: every angle is a sum of
slow waves whose amplitudes are entries of the latent, scaled by the style, and every chunk begins and ends at rest, so
that chunks join.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from sadtalker_export.networks.audio2pose import CHUNK_FRAMES, LATENT, POSE, POSE_STYLES
from torch import Tensor, nn

from .expression import speech_frames
from .task import BatchSource, Losses, Task

BATCH = 4
UTTERANCES, HELD_OUT = 100, 8
WAVES = 2  # per angle: half a period a chunk, and a whole one
SPREAD = (0.045, 0.08, 0.03)  # of pitch, yaw and roll: radians, one standard deviation of the slowest wave
NOD = 0.12  # radians per unit of loudness
BOB = 0.02  # vertical shift per unit of loudness, of the frame
VERTICAL = 4  # in the six components of a pose


def pose_motion(mel: Tensor, latent: Tensor, style: Tensor) -> Tensor:
    """Return the motion that a latent and a chunk of speech stand for.

    Args:
        mel: [B, 32, 80, 16] in [-4, 4].
        latent: [B, 64].
        style: [B, 1] in 0..45; from 0, the usual liveliness, up to 1.5 times and down to half of it.

    Returns:
        [B, 32, 6]: angles in radians, then translation.
    """
    time = (torch.arange(CHUNK_FRAMES, device=mel.device) + 0.5) / CHUNK_FRAMES * torch.pi
    waves = torch.stack([torch.sin(n * time) / n for n in range(1, WAVES + 1)])  # [WAVES, 32]
    amplitudes = latent[:, : 3 * WAVES].reshape(-1, 3, WAVES) * torch.tensor(SPREAD, device=mel.device)[:, None]
    lively = 1 + 0.5 * torch.sin(style[:, 0] * 2.4)
    angles = torch.einsum("baw,wt->bta", amplitudes, waves) * lively[:, None, None]
    loud = ((mel.mean((2, 3)) + 4) / 8 - 0.3) * waves[0]
    motion = torch.zeros(*loud.shape, POSE, device=mel.device)
    motion[..., :3] = angles
    motion[..., 0] += NOD * loud
    motion[..., VERTICAL] = BOB * loud
    return motion


class PoseTask(Task):
    """The training of audio2pose."""

    name = "pose"
    network_names = frozenset({"audio2pose"})
    budget = 60_000
    rate = 1.5e-3

    @contextmanager
    def batch_source(self, samples: int) -> Iterator[BatchSource]:
        rng = np.random.default_rng([self.context.seed, samples])
        mels = torch.from_numpy(speech_frames(rng, UTTERANCES)[0])
        yield lambda progress: self.inputs(rng, mels, BATCH)

    def inputs(self, rng: np.random.Generator, mels: Tensor, count: int) -> tuple[Tensor, ...]:
        """Return chunks of speech, latents, styles and reference poses."""
        first = torch.from_numpy(rng.integers(len(mels) - CHUNK_FRAMES, size=count))
        inputs = (
            mels[first[:, None] + torch.arange(CHUNK_FRAMES)],
            torch.from_numpy(rng.standard_normal((count, LATENT), dtype=np.float32)),
            torch.from_numpy(rng.integers(POSE_STYLES, size=(count, 1))),
            torch.from_numpy(rng.normal(0, 0.1, (count, POSE)).astype(np.float32)),
        )
        return tuple(x.to(self.context.device) for x in inputs)

    def losses(self, batch: tuple[Tensor, ...], progress: float) -> tuple[Losses, int]:
        mel, latent, style, reference = batch
        error = self.networks["audio2pose"](mel, latent, style, reference) - pose_motion(mel, latent, style)
        return {"pose": 20 * error.abs().mean(), "pose_square": 200 * error.square().mean()}, len(mel)

    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return correlation and mean absolute error (radians) of the angles on speech that training never hears."""
        rng = np.random.default_rng(10**9)
        mels = torch.from_numpy(speech_frames(rng, HELD_OUT)[0])
        mel, latent, style, reference = self.inputs(rng, mels, 64)
        found = networks["audio2pose"](mel, latent, style, reference)[..., :3]
        truth = pose_motion(mel, latent, style)[..., :3]
        return {
            "angle_correlation": float(torch.corrcoef(torch.stack([found.flatten(), truth.flatten()]))[0, 1]),
            "angle_error": float((found - truth).abs().mean()),
        }

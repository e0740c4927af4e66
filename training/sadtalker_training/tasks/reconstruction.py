"""Face reconstruction: expression and pose of a portrait, read from its aligned crop."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from sadtalker_export.networks.audio2exp import EXPRESSION
from sadtalker_export.networks.face_reconstruction import GROUPS
from sadtalker_runtime.portrait.alignment import align
from torch import Tensor, nn

from ..coefficients import BLENDSHAPES, COEFFICIENTS, Floats
from ..faces.episodes import Episode, episode, episode_buffer
from .task import BatchSource, Losses, Task

CAPACITY = 400  # episodes kept
HELD_OUT, EVALUATED = 2 * 10**9, 6  # first seed, episodes
# Where a face detector's eyes, nose tip and mouth corners lie in a frame, pixels: the frame is cut out by them.
LANDMARKS = np.array([(96.0, 121.7), (160.0, 121.7), (128.0, 156.9), (105.0, 184.8), (151.0, 184.8)])
LANDMARK_ERROR, SCALE_ERROR = 2.0, 0.03  # pixels, and share of the size: one standard deviation
IDENTITY, TEXTURE, ILLUMINATION = GROUPS[0], GROUPS[2], GROUPS[4]
_FREE = IDENTITY + EXPRESSION + TEXTURE


def motion_coefficients(answer: Tensor) -> Tensor:
    """Return the 70 motion coefficients in the network's 257: expression, angles, translation."""
    angles = answer[:, _FREE : _FREE + 3]
    return torch.cat([answer[:, IDENTITY : IDENTITY + EXPRESSION], angles, answer[:, -3:]], 1)


def aligned_crops(made: Episode, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return an episode's frames as the portrait crop aligns them, [F, 3, 224, 224], and their coefficients [F, 70]."""
    crops = []
    for picture in (made.source, *made.driving):
        centre = LANDMARKS.mean(0)
        landmarks = centre + (LANDMARKS - centre) * rng.normal(1, SCALE_ERROR) + rng.normal(0, LANDMARK_ERROR, 2)
        crops.append(align(picture, landmarks)[1])
    coefficients = np.concatenate([made.source_coefficients[None], made.driving_coefficients])
    return np.stack(crops).transpose(0, 3, 1, 2).astype(np.float32) / 255, coefficients


class ReconstructionTask(Task):
    """The training of face_reconstruction."""

    name = "reconstruction"
    network_names = frozenset({"face_reconstruction"})
    budget = 100_000

    @contextmanager
    def batch_source(self, samples: int) -> Iterator[BatchSource]:
        portraits = 2 if self.context.small else 12
        first_seed = self.context.seed * 10**7 + 5 * 10**6 + samples
        rng = np.random.default_rng(first_seed)
        with episode_buffer(self.context.workers, CAPACITY, first_seed) as buffer:
            fresh = 1 if self.context.small else None  # where painting and training share the processor
            yield lambda progress: self.inputs(rng, buffer.draw(portraits, fresh=fresh))

    def inputs(self, rng: np.random.Generator, episodes: list[Episode]) -> tuple[Tensor, Tensor]:
        """Return crops [B, 3, 224, 224] and coefficients [B, 70]."""
        made = [aligned_crops(one, rng) for one in episodes]
        crops, coefficients = (torch.from_numpy(np.concatenate(part)) for part in zip(*made, strict=True))
        return crops.to(self.context.device), coefficients.to(self.context.device)

    def losses(self, batch: tuple[Tensor, Tensor], progress: float) -> tuple[Losses, int]:
        crops, truth = batch
        answer = self.networks["face_reconstruction"](crops)
        found = motion_coefficients(answer)
        error = (found - truth).abs()
        unused = torch.cat(
            [answer[:, :IDENTITY], answer[:, IDENTITY + EXPRESSION : _FREE], answer[:, -GROUPS[4] - 3 : -3]], 1
        )
        return {
            "expression": error[:, : len(BLENDSHAPES)].mean(),
            "pose": 5 * error[:, EXPRESSION:COEFFICIENTS].mean(),
            "nothing": unused.abs().mean() + error[:, len(BLENDSHAPES) : EXPRESSION].mean(),
        }, len(crops)

    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return the mean absolute error of blendshapes and of angles (radians) on held-out people."""
        rng = np.random.default_rng(HELD_OUT)
        crops, truth = self.inputs(rng, [episode(HELD_OUT + i) for i in range(EVALUATED)])
        error = (motion_coefficients(networks["face_reconstruction"](crops)) - truth).abs()
        return {
            "blendshapes": float(error[:, : len(BLENDSHAPES)].mean()),
            "angles": float(error[:, EXPRESSION : EXPRESSION + 3].mean()),
        }

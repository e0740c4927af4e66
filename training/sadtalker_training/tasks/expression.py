"""Speech to the mouth: audio2exp learns the visemes of synthetic speech, and passes on blinks and brows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from sadtalker_export.networks.audio2exp import EXPRESSION
from sadtalker_runtime.speech.mel import mel_windows
from torch import Tensor, nn

from ..coefficients import BLINK, BROWS, CORNERS, JAW, Floats
from ..speech.utterance import random_utterance
from ..speech.visemes import SPOKEN, mouth_shapes
from .task import BatchSource, Losses, Task

BATCH = 64
UTTERANCES, HELD_OUT = 700, 20
_KEPT = (CORNERS, BROWS)  # as the portrait has them
_WEIGHTS = {JAW: 3.0, BLINK: 2.0}


def speech_frames(rng: np.random.Generator, utterances: int) -> tuple[Floats, Floats]:
    """Return mel windows [T, 80, 16] and the mouth's blendshapes [T, 4] of made-up speech."""
    windows, shapes = [], []
    for _ in range(utterances):
        utterance = random_utterance(rng)
        shape = mouth_shapes(utterance)
        windows.append(mel_windows(utterance.waveform, 0, len(shape)))
        shapes.append(shape)
    return np.concatenate(windows), np.concatenate(shapes)


class ExpressionTask(Task):
    """The training of audio2exp, on synthetic speech and random blinks."""

    name = "expression"
    network_names = frozenset({"audio2exp"})
    budget = 400_000
    rate = 1.5e-3

    @contextmanager
    def batch_source(self, samples: int) -> Iterator[BatchSource]:
        rng = np.random.default_rng([self.context.seed, samples])
        mels, shapes = (torch.from_numpy(a) for a in speech_frames(rng, UTTERANCES))

        def batch(progress: float) -> tuple[Tensor, ...]:
            chosen = torch.from_numpy(rng.integers(len(mels), size=BATCH))
            return self.inputs(rng, mels[chosen], shapes[chosen])

        yield batch

    def inputs(self, rng: np.random.Generator, mel: Tensor, shapes: Tensor) -> tuple[Tensor, ...]:
        """Return mel windows, references, blinks, and the expressions that they should give."""
        count = len(mel)
        reference = torch.from_numpy(rng.normal(0, 0.4, (count, EXPRESSION)).astype(np.float32))
        blink = torch.from_numpy((rng.random((count, 1)) * (rng.random((count, 1)) < 0.4)).astype(np.float32))
        expression = torch.zeros(count, EXPRESSION)
        expression[:, list(SPOKEN)] = shapes
        expression[:, BLINK] = blink[:, 0]
        expression[:, list(_KEPT)] = reference[:, list(_KEPT)]
        return tuple(x.to(self.context.device) for x in (mel, reference, blink, expression))

    def losses(self, batch: tuple[Tensor, ...], progress: float) -> tuple[Losses, int]:
        mel, reference, blink, expression = batch
        weights = torch.ones(EXPRESSION, device=mel.device)
        for coefficient, weight in _WEIGHTS.items():
            weights[coefficient] = weight
        error = self.networks["audio2exp"](mel, reference, blink) - expression
        return {"expression": (error.abs() * weights).sum(1).mean()}, len(mel)

    def evaluate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Return correlation and mean absolute error of the jaw on utterances that training never hears."""
        rng = np.random.default_rng(10**9)
        mels, shapes = (torch.from_numpy(a) for a in speech_frames(rng, HELD_OUT))
        mel, reference, blink, expression = self.inputs(rng, mels, shapes)
        jaw = networks["audio2exp"](mel, reference, blink)[:, JAW]
        return {
            "jaw_correlation": float(torch.corrcoef(torch.stack([jaw, expression[:, JAW]]))[0, 1]),
            "jaw_error": float((jaw - expression[:, JAW]).abs().mean()),
        }

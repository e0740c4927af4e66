"""Expression coefficients from speech, frame by frame (SadTalker's ExpNet, Zhang et al. 2023)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .audio_encoder import AudioEncoder, AudioEncoderSize

EXPRESSION = 64


@dataclass(frozen=True)
class Audio2ExpSize:
    encoder: AudioEncoderSize = AudioEncoderSize()


class Audio2Exp(nn.Module):
    """Mel window, the portrait's expression and a blink ratio -> the frame's expression."""

    def __init__(self, size: Audio2ExpSize) -> None:
        super().__init__()
        self.encoder = AudioEncoder(size.encoder)
        self.head = nn.Linear(size.encoder.widths[-1] + EXPRESSION + 1, EXPRESSION)

    def forward(self, mel: Tensor, reference_expression: Tensor, blink: Tensor) -> Tensor:
        """Return the expression [B, 64] of mel [B, 80, 16], reference_expression [B, 64], blink [B, 1] in [0, 1]."""
        expression: Tensor = self.head(torch.cat([self.encoder(mel), reference_expression, blink], 1))
        return expression

"""One feature vector per video frame from its mel window (the audio encoder of Wav2Lip, Prajwal et al. 2020)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class AudioEncoderSize:
    widths: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512)


class AudioConv(nn.Module):
    """Convolution, batch normalisation, optional identity shortcut, ReLU."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int | tuple[int, int] = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding)
        self.norm = nn.BatchNorm2d(channels_out)
        self.shortcut = channels_in == channels_out and stride == 1 and kernel == 3

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        return F.relu(y + x if self.shortcut else y)


class AudioEncoder(nn.Module):
    """Mel windows [B, 80, 16] in [-4, 4] -> features [B, widths[-1]]."""

    def __init__(self, size: AudioEncoderSize) -> None:
        super().__init__()
        a, b, c, d, e = size.widths
        self.layers = nn.Sequential(
            AudioConv(1, a),  # 80 x 16
            AudioConv(a, a),
            AudioConv(a, a),
            AudioConv(a, b, stride=(3, 1)),  # 27 x 16
            AudioConv(b, b),
            AudioConv(b, b),
            AudioConv(b, c, stride=3),  # 9 x 6
            AudioConv(c, c),
            AudioConv(c, c),
            AudioConv(c, d, stride=(3, 2)),  # 3 x 3
            AudioConv(d, d),
            AudioConv(d, e, padding=0),  # 1 x 1
            AudioConv(e, e, kernel=1, padding=0),
        )

    def forward(self, mel: Tensor) -> Tensor:
        features: Tensor = self.layers(mel.unsqueeze(1))
        return features.flatten(1)

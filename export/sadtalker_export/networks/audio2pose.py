"""Head motion from speech: the decoder of SadTalker's PoseVAE (Zhang et al. 2023), with its residual U-Net."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .audio_encoder import AudioEncoder, AudioEncoderSize

CHUNK_FRAMES = 32
POSE = 6
LATENT = 64
POSE_STYLES = 46


@dataclass(frozen=True)
class Audio2PoseSize:
    encoder: AudioEncoderSize = AudioEncoderSize()
    hidden: int = 128
    unet_widths: tuple[int, int, int, int] = (32, 64, 128, 256)


class PreActivationBlock(nn.Module):
    """Two pre-activated convolutions beside a convolved shortcut (He et al. 2016); `stride` halves time only."""

    def __init__(self, channels_in: int, channels_out: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1)
        self.skip_norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        y = self.conv2(F.relu(self.norm2(y)))
        out: Tensor = y + self.skip_norm(self.skip(x))
        return out


class PoseUNet(nn.Module):
    """A residual U-Net over the time x pose plane: [B, 1, 32, 6] -> the same shape in (0, 1)."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem1 = nn.Conv2d(1, a, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(a)
        self.stem2 = nn.Conv2d(a, a, 3, padding=1)
        self.stem_skip = nn.Conv2d(1, a, 3, padding=1)
        halve = (2, 1)
        self.down = nn.ModuleList(PreActivationBlock(i, o, halve) for i, o in ((a, b), (b, c), (c, d)))
        self.upsample = nn.ModuleList(nn.ConvTranspose2d(n, n, halve, halve) for n in (d, c, b))
        self.up = nn.ModuleList(PreActivationBlock(i, o) for i, o in ((d + c, c), (c + b, b), (b + a, a)))
        self.head = nn.Conv2d(a, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem2(F.relu(self.stem_norm(self.stem1(x)))) + self.stem_skip(x)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for upsample, up in zip(self.upsample, self.up, strict=True):
            x = up(torch.cat([upsample(x), skips.pop()], 1))
        return torch.sigmoid(self.head(x))


class Audio2Pose(nn.Module):
    """A chunk of speech, a latent and a style -> head motion relative to the portrait's pose."""

    def __init__(self, size: Audio2PoseSize) -> None:
        super().__init__()
        self.encoder = AudioEncoder(size.encoder)
        self.audio_head = nn.Linear(size.encoder.widths[-1], POSE)
        self.style_latent = nn.Parameter(torch.zeros(POSE_STYLES, LATENT))
        self.hidden = nn.Linear(POSE + LATENT + CHUNK_FRAMES * POSE, size.hidden)
        self.rough = nn.Linear(size.hidden, CHUNK_FRAMES * POSE)
        self.unet = PoseUNet(size.unet_widths)
        self.pose_head = nn.Linear(POSE, POSE)

    def forward(self, mel: Tensor, latent: Tensor, pose_style: Tensor, reference_pose: Tensor) -> Tensor:
        """Return the head motion [B, 32, 6].

        Args:
            mel: [B, 32, 80, 16] in [-4, 4].
            latent: [B, 64].
            pose_style: [B, 1], int64 in 0..45.
            reference_pose: [B, 6] of the portrait.
        """
        audio = self.audio_head(self.encoder(mel.flatten(0, 1))).reshape(-1, CHUNK_FRAMES * POSE)
        latent = latent + self.style_latent[pose_style[:, 0]]
        hidden = F.relu(self.hidden(torch.cat([reference_pose, latent, audio], 1)))
        rough = torch.sigmoid(self.rough(hidden)).reshape(-1, 1, CHUNK_FRAMES, POSE)
        motion: Tensor = self.pose_head(self.unet(rough).squeeze(1))
        return motion

"""The frame renderer: warps the portrait's appearance volume by the dense motion and decodes it (Wang et al. 2021)."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .appearance_encoder import AppearanceEncoderSize
from .convolution import ConvNorm
from .dense_motion import DenseMotion, DenseMotionSize
from .picture_transfer import carried, transfer
from .spade_decoder import SpadeDecoder, SpadeDecoderSize


@dataclass(frozen=True)
class FaceRendererSize:
    appearance: AppearanceEncoderSize = AppearanceEncoderSize()
    motion: DenseMotionSize = DenseMotionSize()
    decoder: SpadeDecoderSize = SpadeDecoderSize()


class FaceRenderer(nn.Module):
    """Volume [B, C, D, H, W], source and driving keypoints [B, K, 3] -> frames [B, 3, 4H, 4W], RGB in (0, 1)."""

    def __init__(self, size: FaceRendererSize) -> None:
        super().__init__()
        features = size.decoder.features
        self.transfers_picture = size.appearance.carries_picture
        self.dense_motion = DenseMotion(size.motion)
        self.flatten = ConvNorm(size.appearance.channels * size.appearance.depth, features, slope=0.01)
        self.project = nn.Conv2d(features, features, 1)
        self.decoder = SpadeDecoder(size.decoder)

    def forward(self, volume: Tensor, source_keypoints: Tensor, driving_keypoints: Tensor) -> Tensor:
        flow, occlusion = self.dense_motion(volume, source_keypoints, driving_keypoints)
        frames = self.decode(volume, flow, occlusion)
        return transfer(frames, carried(volume), flow, occlusion) if self.transfers_picture else frames

    def decode(self, volume: Tensor, flow: Tensor, occlusion: Tensor) -> Tensor:
        """Return the network's own frames, from the volume under a flow: [B, 3, 4H, 4W]."""
        warped = F.grid_sample(volume, flow, align_corners=False)
        frames: Tensor = self.decoder(self.project(self.flatten(warped.flatten(1, 2))) * occlusion)
        return frames

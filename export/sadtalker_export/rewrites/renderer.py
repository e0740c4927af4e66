"""The face renderer in its exported form: every exact rewrite applied, F frames of a portrait at a time, bytes out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.convolution import ConvNorm
from ..networks.dense_motion import DenseMotion, Hourglass3d, gaussian_maps, mixed_flow
from ..networks.face_renderer import FaceRenderer
from ..networks.picture_transfer import carried, transfer
from .folding import fold_norm
from .narrow_convolution import NarrowConvolution
from .resize_convolution import ResizeConvolution
from .sampled_convolution import SampledConvolution
from .spade import FastSpadeDecoder
from .translation import translate


class UpConvNorm(nn.Module):
    """A `ConvNorm` that repeats pixels first, as a transposed convolution."""

    def __init__(self, block: ConvNorm) -> None:
        super().__init__()
        self.conv = ResizeConvolution(*fold_norm(block), 2)
        self.slope = block.slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x), self.slope)


class Apart(nn.Module):
    """Logits of the mask [B, K, D, H, W] and of the occlusion map [B, 1, H, W], as they are."""

    def forward(self, mask: Tensor, occlusion: Tensor) -> tuple[Tensor, Tensor]:
        return mask, occlusion


class FastRenderer(nn.Module):
    """Volume [B, C, D, H, W], source keypoints [B, K, 3], driving keypoints [B, F, K, 3] -> [B, F, 3, 4H, 4W].

    Everything that depends on the portrait alone is computed once per item, not per frame.
    """

    def __init__(self, renderer: FaceRenderer) -> None:
        super().__init__()
        self.dense_motion = renderer.dense_motion
        hourglass = renderer.dense_motion.hourglass
        self.enter: nn.Module = nn.Identity()  # where another form may order the hourglass's depths otherwise
        self.leave: nn.Module = nn.Identity()
        self.occlusion: nn.Module = NarrowConvolution(renderer.dense_motion.occlusion)
        self.up = nn.ModuleList(UpConvNorm(block) for block in hourglass.up if isinstance(block, ConvNorm))
        self.decisions: nn.Module = Apart()  # where another form may pass them on as one tensor
        self.flatten: nn.Module = SampledConvolution(renderer.flatten)
        self.project = renderer.project
        self.decoder = FastSpadeDecoder(renderer.decoder)
        self.transfers_picture = renderer.transfers_picture

    def forward(self, appearance: Tensor, source_keypoints: Tensor, driving_keypoints: Tensor) -> Tensor:
        b, frames = driving_keypoints.shape[:2]
        motion: DenseMotion = self.dense_motion
        shifts = source_keypoints.unsqueeze(1) - driving_keypoints
        candidates = self._candidates(appearance, source_keypoints, driving_keypoints, shifts)
        shifts = F.pad(shifts.flatten(0, 1), (0, 0, 1, 0))
        decided = self._hourglass(motion.hourglass, candidates)
        logits, occlusion = self.decisions(motion.mask(decided), self.occlusion(decided))
        flow, occlusion = mixed_flow(logits, shifts, motion.mask_floor), torch.sigmoid(occlusion)
        warped = self.flatten(appearance, flow.reshape(b, frames, *flow.shape[1:]))
        features = self.project(warped) * occlusion
        images: Tensor = self.decoder(features)
        if self.transfers_picture:
            picture = carried(appearance).unsqueeze(1).expand(-1, frames, -1, -1, -1).flatten(0, 1)
            images = transfer(images, picture, flow, occlusion)
        return images.reshape(b, frames, *images.shape[1:])

    def _candidates(self, appearance: Tensor, source: Tensor, driving: Tensor, shifts: Tensor) -> Tensor:
        """Return the hourglass's input: per candidate a heat map and the features under its motion, [B * F, ...]."""
        b, frames, keypoints = driving.shape[:3]
        features = self.dense_motion.motion_features(appearance)
        background = translate(features, torch.zeros_like(source[:, :1])).unsqueeze(1).expand(-1, frames, *[-1] * 5)
        moved = translate(features, shifts.flatten(1, 2)).reshape(b, frames, keypoints, *features.shape[1:])
        moved = torch.cat([background, moved], 2).flatten(0, 1)
        shape = features.shape[2:]
        heat = gaussian_maps(driving.flatten(1, 2), shape).reshape(b, frames, keypoints, *shape)
        heat = (heat - gaussian_maps(source, shape).unsqueeze(1)).flatten(0, 1)
        heat = torch.cat([torch.zeros_like(moved[:, :1, 0]), heat], 1)  # none for the background
        candidates: Tensor = torch.cat([heat.unsqueeze(2), moved], 2).flatten(1, 2)
        return candidates

    def _hourglass(self, hourglass: Hourglass3d, x: Tensor) -> Tensor:
        x, skips = self.enter(x), []
        for down in hourglass.down:
            skips.append(x)
            x = down(x)
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        merged: Tensor = self.leave(hourglass.merge(x))
        return merged


class FrameBytes(nn.Module):
    """A `FastRenderer` whose output a video encoder takes as it is: uint8 RGB, channels last."""

    def __init__(self, renderer: FaceRenderer) -> None:
        super().__init__()
        self.renderer = FastRenderer(renderer)

    def forward(self, appearance: Tensor, source_keypoints: Tensor, driving_keypoints: Tensor) -> Tensor:
        """Return frames uint8 [B, F, 4H, 4W, 3]."""
        images = self.renderer(appearance, source_keypoints, driving_keypoints)
        # TensorRT knows bytes only as a network's inputs and outputs: the cast comes last.
        frames: Tensor = (images * 255).round().permute(0, 1, 3, 4, 2).to(torch.uint8)
        return frames

"""The renderer within regions of the frames: the same function as `FaceRenderer`, a quarter of the work.

Candidate motions are sampled at the regions' cells only, and all frames of a portrait sample its volume at once. Near a
region's edges the convolutions see zeros where the whole frame would continue.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sadtalker_export.networks.appearance_encoder import AppearanceEncoder
from sadtalker_export.networks.convolution import inclusive_axis, inclusive_grid
from sadtalker_export.networks.dense_motion import HEATMAP_VARIANCE, DenseMotion
from sadtalker_export.networks.face_renderer import FaceRenderer
from sadtalker_export.networks.picture_transfer import CELL, blend, carried, carry, pixel_centres, planar_shift, warp
from torch import Tensor

from ..faces.shape import GRID


@dataclass(frozen=True)
class Regions:
    """A square of cells per frame: the part of it that is rendered and judged."""

    rows: Tensor  # [B], the uppermost
    columns: Tensor  # [B], the leftmost
    size: int

    @classmethod
    def around(cls, keypoints: Tensor, size: int) -> "Regions":
        """Choose regions, most often around the mouth or the eyes, sometimes anywhere. keypoints: [B, 15, 3]."""
        b = len(keypoints)
        choice = torch.rand(b, 1, device=keypoints.device)
        mouth, eyes = keypoints[:, 7:9, :2].mean(1), keypoints[:, 1:3, :2].mean(1)
        anywhere = torch.rand_like(mouth) * 2 - 1
        centre = torch.where(choice < 0.4, mouth, torch.where(choice < 0.8, eyes, anywhere))
        centre = centre + 0.2 * torch.randn_like(centre)
        first = ((centre + 1) / 2 * GRID - size / 2).round().long().clamp(0, GRID - size)
        return cls(first[:, 1], first[:, 0], size)

    def cut(self, x: Tensor, pixels: int = 1) -> Tensor:
        """Cut the regions out of [B, ..., H, W]; `pixels` is how many a cell has there."""
        if self.size == GRID:
            return x
        side = self.size * pixels
        corners = zip((self.rows * pixels).tolist(), (self.columns * pixels).tolist(), strict=True)
        return torch.stack([x[i, ..., r : r + side, c : c + side] for i, (r, c) in enumerate(corners)])


@dataclass(frozen=True)
class Moved:
    """The motion of B frames within regions of h x w cells."""

    flow: Tensor  # [B, D, h, w, 3]
    visibility: Tensor  # logits of the occlusion map [B, 1, h, w]
    positions: Tensor  # of the cells: [B, D, h, w, 3]


@dataclass(frozen=True)
class Rendered:
    """The frames of B regions, and the motion they were rendered with."""

    frames: Tensor  # [B, 3, 4h, 4w], the renderer's output
    decoded: Tensor  # the same without pixels of the portrait
    motion: Moved


def render(
    renderer: FaceRenderer,
    volume: Tensor,
    source_keypoints: Tensor,
    driving_keypoints: Tensor,
    regions: Regions,
    *,
    mixed: bool = False,
) -> Rendered:
    """Render frames of N portraits, F of each, B = N * F, those of a portrait one after the other.

    Args:
        volume: [N, C, D, 64, 64].
        source_keypoints, driving_keypoints: [B, K, 3].
        mixed: convolutions in bfloat16, positions in float32.
    """
    moved = move(renderer.dense_motion, volume, source_keypoints, driving_keypoints, regions, mixed=mixed)
    occlusion = torch.sigmoid(moved.visibility)
    warped = sample_portraits(volume, moved.flow.unsqueeze(1)).squeeze(1)
    with torch.autocast(volume.device.type, torch.bfloat16, enabled=mixed):
        decoded = renderer.decoder(renderer.project(renderer.flatten(warped.flatten(1, 2))) * occlusion)
    decoded = decoded.float()
    picture, frames = carried(volume), len(driving_keypoints)
    centres = pixel_centres(picture).permute(0, 3, 1, 2).expand(frames, -1, -1, -1)
    centres = regions.cut(centres, CELL).permute(0, 2, 3, 1)
    shift = planar_shift(moved.flow, moved.positions)
    copied = warp(picture.repeat_interleave(frames // len(volume), 0), shift, centres)
    return Rendered(blend(decoded, copied, occlusion), decoded, moved)


def move(
    motion: DenseMotion,
    volume: Tensor,
    source_keypoints: Tensor,
    driving_keypoints: Tensor,
    regions: Regions,
    *,
    mixed: bool = False,
) -> Moved:
    """Return the dense motion alone; arguments as of `render`."""
    device, frames = volume.device.type, len(driving_keypoints)
    plane = inclusive_grid((1, GRID, GRID), volume)[0, :, :, :2].permute(2, 0, 1)
    positions = with_depth(regions.cut(plane.expand(frames, -1, -1, -1)), volume.shape[2])
    with torch.autocast(device, torch.bfloat16, enabled=mixed):
        features = motion.motion_features(volume)
    shifts = motion.shifts(source_keypoints, driving_keypoints)
    candidates = sample_portraits(features.float(), positions.unsqueeze(1) + shifts[:, :, None, None, None])
    heat = gaussians(driving_keypoints, positions) - gaussians(source_keypoints, positions)
    heat = F.pad(heat, (0, 0, 0, 0, 0, 0, 1, 0)).unsqueeze(2)
    with torch.autocast(device, torch.bfloat16, enabled=mixed):
        decided = motion.hourglass(torch.cat([heat, candidates], 2).flatten(1, 2))
        choice, visibility = motion.mask(decided), motion.occlusion(decided.flatten(1, 2))
    return Moved(mix(choice.float(), shifts, positions, motion.mask_floor), visibility.float(), positions)


def encode(encoder: AppearanceEncoder, source: Tensor, *, residual: bool) -> Tensor:
    """Return the encoder's volume; without the residual blocks, which start as the identity and cost most of it."""
    if residual:
        whole: Tensor = encoder(source)
        return whole
    x = encoder.stem(source)
    for down in encoder.down:
        x = down(x)
    return carry(encoder.lift(x).unflatten(1, (encoder.channels, encoder.depth)), source)


def with_depth(plane: Tensor, depth: int) -> Tensor:
    """Return the positions of the volume's cells above those of a plane: [B, 2, h, w] -> [B, depth, h, w, 3]."""
    b, _, h, w = plane.shape
    z = inclusive_axis(depth, plane)[:, None, None, None].expand(b, -1, h, w, 1)
    return torch.cat([plane.permute(0, 2, 3, 1).unsqueeze(1).expand(-1, depth, -1, -1, -1), z], -1)


def sample_portraits(volume: Tensor, positions: Tensor) -> Tensor:
    """Sample a portrait's volume [N, C, D, H, W] at positions [B, M, D, h, w, 3] of its frames: [B, M, C, D, h, w]."""
    b, m, d, h, w, _ = positions.shape
    sampled = F.grid_sample(volume, positions.reshape(len(volume), -1, h, w, 3), align_corners=False)
    sampled = sampled.reshape(len(volume), -1, b // len(volume), m, d, h, w)
    return sampled.permute(0, 2, 3, 1, 4, 5, 6).flatten(0, 1)


def gaussians(keypoints: Tensor, positions: Tensor) -> Tensor:
    """Return `gaussian_maps` within regions: keypoints [B, K, 3], positions [B, D, h, w, 3] -> [B, K, D, h, w]."""
    axes = positions[:, 0, 0, :, 0], positions[:, 0, :, 0, 1], positions[:, :, 0, 0, 2]
    x, y, z = (
        torch.exp((axis.unsqueeze(1) - keypoints[..., i : i + 1]) ** 2 * (-0.5 / HEATMAP_VARIANCE))
        for i, axis in enumerate(axes)
    )
    return z[:, :, :, None, None] * y[:, :, None, :, None] * x[:, :, None, None, :]


def mix(logits: Tensor, shifts: Tensor, positions: Tensor, floor: float) -> Tensor:
    """Return `mixed_flow` within regions: logits [B, K+1, D, h, w], shifts [B, K+1, 3] -> [B, D, h, w, 3]."""
    mask = F.softmax(logits, 1)
    if floor:
        mask = torch.where(mask < floor, torch.zeros_like(mask), mask)
    return mask.sum(1).unsqueeze(-1) * positions + torch.einsum("bkdhw,bkc->bdhwc", mask, shifts)

"""A chunk of frames at twice the size with the face restored: found by its landmarks, enhanced, pasted back."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FACE = 512  # side of the aligned face, as in FFHQ
# Where the eyes, the nose and the corners of the mouth are in an aligned face, (x, y) in pixels.
TEMPLATE = (
    (192.98138, 239.94708),
    (318.90277, 240.1936),
    (256.63416, 314.01935),
    (201.26117, 371.41043),
    (313.08905, 371.15118),
)
SCALE = 2
# The restored face fades out between these distances from the edge of its square, in pixels of the square.
FADE_FROM, FADE_TO = 24.0, 80.0
EPSILON = 1e-9  # keeps the arithmetic finite where all points are one, as in an engine's warm-up with zeros


class FrameEnhancer(nn.Module):
    """Frames uint8 [B, F, H, W, 3] (RGB) and where their face is -> frames uint8 [B, F, 2H, 2W, 3].

    `landmarks` [B, 5, 2] are the centres of the left and the right eye as seen in the portrait, the tip of the nose,
    and the left and the right corner of the mouth: (x, y) in pixels of a frame, whole numbers at pixel centres. They
    turn and shift with the keypoints that drive the frame, from `source_keypoints` [B, K, 3] to `driving_keypoints` [B,
    F, K, 3], in [-1, 1]. Landmarks detected in every frame would make the face tremble, and fixed ones would lose a
    head that moves; keypoints move as smoothly as the coefficients behind them.

    The face is sampled, restored, and laid over the enlarged frame under a mask that fades towards the edges of its
    square. Outside of the square the frame is only enlarged.

    The enhancer, any network of aligned faces [N, 3, 512, 512] in [-1, 1], is brought to `precision`; positions and
    colours are computed in that of the landmarks, float32.
    """

    def __init__(self, enhancer: nn.Module, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.enhancer, self.precision = enhancer.to(precision), precision

    def forward(self, frames: Tensor, landmarks: Tensor, source_keypoints: Tensor, driving_keypoints: Tensor) -> Tensor:
        f, h, w = frames.shape[1:4]
        landmarks, source = (
            x.unsqueeze(1).expand(-1, f, -1, -1).flatten(0, 1) for x in (landmarks, source_keypoints[..., :2])
        )
        driving = driving_keypoints[..., :2].flatten(0, 1)
        extent = landmarks.new_tensor([w - 1, h - 1]) / 2
        moved = carry(landmarks, (source + 1) * extent, (driving + 1) * extent)
        alignment = similarity(moved, landmarks.new_tensor(TEMPLATE))
        # TensorRT knows bytes only as a network's inputs and outputs: one cast comes first, the other last.
        images = frames.to(alignment.dtype).flatten(0, 1).permute(0, 3, 1, 2)
        faces = sample(images, transform(invert(alignment), pixels(FACE, FACE, alignment)), "border")
        restored = self.enhancer((faces / 127.5 - 1).to(self.precision)).to(faces.dtype)
        restored = (restored.clamp(-1, 1) + 1) * 127.5
        centres = (pixels(SCALE * h, SCALE * w, alignment) + 0.5) / SCALE - 0.5
        positions = transform(alignment, centres)
        mask = fading(positions)
        enlarged = F.interpolate(images, scale_factor=float(SCALE), mode="bicubic", align_corners=False)
        blended = enlarged + mask * (sample(restored, positions, "zeros") - enlarged)
        levels = blended.round().clamp(0, 255).permute(0, 2, 3, 1)
        return levels.reshape(-1, f, SCALE * h, SCALE * w, 3).to(torch.uint8)


def similarity(points: Tensor, template: Tensor) -> Tensor:
    """Return the similarity [N, 2, 3] that takes points [N, P, 2] closest to a template [P, 2] or [N, P, 2].

    It rotates, scales and shifts. Least squares in closed form: with points as complex numbers it is a linear
    regression.
    """
    centre, goal = points.mean(1), template.mean(-2)
    p, t = points - centre.unsqueeze(1), template - goal.unsqueeze(-2)
    spread = p.square().sum((1, 2)).clamp_min(EPSILON)
    along = (p * t).sum((1, 2)) / spread
    across = (p[..., 0] * t[..., 1] - p[..., 1] * t[..., 0]).sum(1) / spread
    linear = torch.stack([torch.stack([along, -across], 1), torch.stack([across, along], 1)], 1)
    return torch.cat([linear, goal.unsqueeze(-1) - linear @ centre.unsqueeze(2)], 2)


def carry(points: Tensor, source: Tensor, driving: Tensor) -> Tensor:
    """Turn and shift points [N, P, 2] as keypoints move from source to driving [N, K, 2]; a face keeps its size."""
    matrix = similarity(source, driving)
    turn = matrix[..., :2] / matrix[..., :1].square().sum(1, keepdim=True).sqrt().clamp_min(EPSILON)
    return (points - source.mean(1, keepdim=True)) @ turn.transpose(1, 2) + driving.mean(1, keepdim=True)


def pixels(height: int, width: int, like: Tensor) -> Tensor:
    """Return (x, y) of every pixel, row by row: [height, width, 2]."""
    y, x = (torch.arange(n, dtype=like.dtype, device=like.device) for n in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def transform(matrix: Tensor, points: Tensor) -> Tensor:
    """Apply affine matrices [N, 2, 3] to points [H, W, 2]: [N, H, W, 2]."""
    linear, shift = matrix[:, None, None, :, :2], matrix[:, None, None, :, 2]
    return (linear * points[None, :, :, None, :]).sum(-1) + shift


def invert(matrix: Tensor) -> Tensor:
    """Invert affine matrices [N, 2, 3] that do not mirror, in closed form: exporters have no general inverse."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    determinant = (a * d - b * c).clamp_min(EPSILON)
    linear = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / determinant[:, None, None]
    return torch.cat([linear, -(linear @ matrix[:, :, 2:])], 2)


def sample(images: Tensor, positions: Tensor, padding: str) -> Tensor:
    """Sample images [N, C, H, W] at pixels (x, y) [N, h, w, 2], bilinearly: [N, C, h, w]."""
    height, width = images.shape[2:]
    grid = positions * positions.new_tensor([2 / (width - 1), 2 / (height - 1)]) - 1
    return F.grid_sample(images, grid, padding_mode=padding, align_corners=True)


def fading(positions: Tensor) -> Tensor:
    """Return the weight of the restored face at positions [N, H, W, 2] of its square: smooth, 0 to 1, [N, 1, H, W]."""
    distance = torch.minimum(positions, FACE - 1 - positions)
    ramp = ((distance - FADE_FROM) / (FADE_TO - FADE_FROM)).clamp(0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    return (ramp[..., 0] * ramp[..., 1]).unsqueeze(1)

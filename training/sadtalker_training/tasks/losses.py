"""Losses of frames, flows, occlusion maps and keypoints, without pretrained networks."""

import torch
import torch.nn.functional as F
from sadtalker_export.networks.convolution import inclusive_axis
from sadtalker_export.networks.keypoint_detector import TEMPERATURE
from torch import Tensor

SCALES = ((1, 4.0), (2, 3.0), (4, 3.0), (8, 2.0))  # shrinkage of the frames, and that scale's weight
GRADIENT = 4.0
TARGET_VARIANCE = 0.004  # of the heat map that a keypoint should have


def picture_loss(frames: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean absolute error over four scales, plus that of the finest gradients.

    Args:
        frames, truth: [B, 3, H, W] in [0, 1].
        weight: [B, 1, H, W].
    """
    error = frames - truth
    across = (error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]
    down = (error[..., 1:, :] - error[..., :-1, :]).abs() * weight[..., 1:, :]
    total = GRADIENT * (across.mean() + down.mean())
    for factor, share in SCALES:
        total = total + share * (F.avg_pool2d(error, factor).abs() * F.avg_pool2d(weight, factor)).mean()
    return total


def flow_loss(flow: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean absolute error of the flow in the plane, at every depth.

    Args:
        flow: [B, D, H, W, 3].
        truth: [B, H, W, 2].
        weight: [B, H, W]; 0 where the truth is unknown.
    """
    error = (flow[..., :2] - truth.unsqueeze(1)).abs().sum(-1).mean(1)
    return (error * weight).mean()


def visibility_loss(logits: Tensor, visible: Tensor, weight: Tensor) -> Tensor:
    """Return the cross-entropy of the occlusion map's logits [B, 1, H, W] with the visibility [B, H, W]."""
    return F.binary_cross_entropy_with_logits(logits[:, 0], visible, weight)


def keypoint_loss(heatmaps: Tensor, found: Tensor, truth: Tensor) -> Tensor:
    """Return the distance of keypoints, plus the cross-entropy of their heat maps with Gaussians around the truth.

    Args:
        heatmaps: [B, K, D, H, W], before the softmax.
        found, truth: [B, K, 3].
    """
    log_p = F.log_softmax(heatmaps.flatten(2) / TEMPERATURE, 2).reshape(heatmaps.shape)
    d, h, w = heatmaps.shape[2:]
    x, y, z = (
        torch.softmax((inclusive_axis(n, truth) - truth[..., i : i + 1]) ** 2 * (-0.5 / TARGET_VARIANCE), 2)
        for i, n in ((0, w), (1, h), (2, d))
    )
    entropy = -torch.einsum("bkdhw,bkd,bkh,bkw->bk", log_p, z, y, x).mean()
    return 10 * (found - truth).abs().mean() + 0.1 * entropy


def importance(keypoints: Tensor, size: int) -> Tensor:
    """Return the weights of a frame's pixels: more on the mouth and the eyes.

    Args:
        keypoints: of the frame [B, 15, 3], in the order of `coefficients.KEYPOINTS`.
        size: pixels a side.

    Returns:
        [B, 1, size, size], between 0.35 and about 4.5.
    """
    weight = 0.6 + 6 * around_mouth(keypoints, size)
    for eye in (1, 2):
        weight = weight + 4 * _spot(keypoints[:, eye], 0.16, 0.14, size)
    return weight / 1.7


def around_mouth(keypoints: Tensor, size: int) -> Tensor:
    """Return 1 between the lips, falling to 0 around the mouth; arguments and shape as of `importance`."""
    return _spot((keypoints[:, 7] + keypoints[:, 8]) / 2, 0.28, 0.22, size)


def _spot(centre: Tensor, wide: float, high: float, size: int) -> Tensor:
    """Return a Gaussian around `centre` [B, 3]: [B, 1, size, size]."""
    axis = inclusive_axis(size, centre)
    x = torch.exp(-(((axis - centre[:, 0:1]) / wide) ** 2))
    y = torch.exp(-(((axis - centre[:, 1:2]) / high) ** 2))
    return (x[:, None, :] * y[:, :, None]).unsqueeze(1)

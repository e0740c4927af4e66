"""Several photos of one person: which of them each part of a frame is taken from, and how the renderings are joined.

Every photo is rendered at the same driven keypoints, those of the first photo's face. Around every keypoint the photo
whose face is nearest to that shape counts most: an eye that closes is taken from a photo with closed eyes, an open
mouth from one with an open mouth. Away from the face the picture is the first photo's. The shares follow the keypoints
continuously, so they change as smoothly as the face moves. docs/photos.md says what that is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array

GRID = 64  # cells a side that shares are computed on
REACH = 0.12  # standard deviation of a keypoint's surroundings, units of the frame, which spans [-1, 1]
SHARPNESS = 1000.0  # of the choice among photos, per squared distance of keypoints
MARGIN = 0.003  # squared distance by which a further photo must be nearer than the first to count as much
NEGLIGIBLE = 0.08  # shares up to this count as 0, so an equally near photo need not be rendered
GAIN = 0.7, 1.4  # least and greatest factor on contrast, where a photo's colours are matched with the first one's


@dataclass(frozen=True)
class Shares:
    """The share of every photo in the cells of a chunk's frames."""

    photos: Array
    """float32 [F, N, GRID, GRID], 1 in sum over N."""
    face: Array
    """Whether a cell belongs to the face: float32 [F, GRID, GRID], 0 to 1."""

    @property
    def needed(self) -> list[int]:
        """Indices of the photos that have a share; the first one always has."""
        return [0, *(i for i in range(1, self.photos.shape[1]) if self.photos[:, i].any())]

    def only(self, photos: Sequence[int]) -> "Shares":
        """Return the shares of these photos alone."""
        return Shares(self.photos[:, list(photos)], self.face)


def shares(sources: Array, driving: Array) -> Shares:
    """Return the shares of photos with these keypoints [N, K, 3] in frames with these [F, K, 3]."""
    source_shapes, driving_shapes = (points - points.mean(-2, keepdims=True) for points in (sources, driving))
    distances = np.square(source_shapes[None] - driving_shapes[:, None]).sum(-1)  # [F, N, K]
    axis = np.linspace(-1, 1, GRID, dtype=np.float32)
    along_x, along_y = (np.exp(np.square(axis - driving[..., i : i + 1]) * (-0.5 / REACH**2)) for i in (0, 1))
    near = np.einsum("fky,fkx->fkyx", along_y, along_x)
    face = np.minimum(near.sum(1), 1)
    around = np.einsum("fnk,fkyx->fnyx", distances, near) / np.maximum(near.sum(1), 1e-6)[:, None]
    logits = -SHARPNESS * around
    logits[:, 0] += SHARPNESS * MARGIN
    parts = np.exp(logits - logits.max(1, keepdims=True))
    parts *= (face / parts.sum(1))[:, None]
    parts[:, 1:] = np.maximum(parts[:, 1:] - NEGLIGIBLE, 0) / (1 - NEGLIGIBLE)
    parts[:, 0] = 1 - parts[:, 1:].sum(1)
    return Shares(parts.astype(np.float32), face.astype(np.float32))


def joined(renderings: Sequence[Array], shares: Shares) -> Array:
    """Return frames uint8 [F, H, W, 3] joined from those that every photo gives, the first photo's first.

    Colours of the further photos are first matched with those of the first: in mean and spread over the face, which
    all of them show in the same pose.
    """
    frames = np.empty_like(renderings[0])
    size = frames.shape[2], frames.shape[1]
    for f in range(len(frames)):
        face = cv2.resize(shares.face[f], size)[..., None]
        first = renderings[0][f].astype(np.float32)
        result = first.copy()
        for rendering, part in zip(renderings[1:], shares.photos[f, 1:], strict=True):
            if part.any():
                shown = _matched(rendering[f].astype(np.float32), first, face)
                result += cv2.resize(part, size)[..., None] * (shown - first)
        frames[f] = np.clip(result + 0.5, 0, 255).astype(np.uint8)
    return frames


def _matched(picture: Array, like: Array, face: Array) -> Array:
    """Return a picture [H, W, 3] with another's mean and spread of colours under a mask [H, W, 1]."""
    total = face.sum()
    means = [(face * one).sum((0, 1)) / total for one in (picture, like)]
    spreads = [
        np.sqrt((face * np.square(one - mean)).sum((0, 1)) / total)
        for one, mean in zip((picture, like), means, strict=True)
    ]
    gain = np.clip(spreads[1] / np.maximum(spreads[0], 1), *GAIN)
    matched: Array = (picture - means[0]) * gain + means[1]
    return matched

"""Faces in a picture: RetinaFace (Deng et al. 2020) with a ResNet-50, boxes and five landmarks each."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .convolution import ConvNorm
from .resnet import ResNet, ResNetSize

MEAN = (104.0, 117.0, 123.0)  # of the training pictures: blue, green, red
STRIDES = (8, 16, 32)
PRIOR_SIZES = ((16, 32), (64, 128), (256, 512))  # pixels, per stride
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
LARGEST_OFFSET = 20.0  # of a box's logarithmic size: 55 times its prior, beyond which the network only makes noise
LANDMARKS = 5  # left eye, right eye, nose, left and right mouth corner, as seen in the picture


@dataclass(frozen=True)
class FaceDetectorSize:
    backbone: ResNetSize = ResNetSize()
    width: int = 256


class FeaturePyramid(nn.Module):
    """Three maps, fine to coarse -> as many of equal width; each finer one has seen the coarser ones (Lin 2017)."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(c, width, kernel=1, bias=False) for c in channels)
        self.merge = nn.ModuleList(ConvNorm(width, width, bias=False) for _ in channels[1:])

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = (lateral(x) for lateral, x in zip(self.lateral, maps, strict=True))
        middle = self.merge[1](middle + F.interpolate(coarse, middle.shape[2:]))
        fine = self.merge[0](fine + F.interpolate(middle, fine.shape[2:]))
        return [fine, middle, coarse]


class ContextModule(nn.Module):
    """3x3, 5x5 and 7x7 windows side by side, the larger two as stacks of 3x3 (SSH, Najibi et al. 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.window3 = ConvNorm(width, half, bias=False)
        self.shared = ConvNorm(width, quarter, bias=False)
        self.window5 = ConvNorm(quarter, quarter, bias=False)
        self.window7 = nn.Sequential(ConvNorm(quarter, quarter, bias=False), ConvNorm(quarter, quarter, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        shared = self.shared(x)
        return torch.cat([self.window3(x), self.window5(shared), self.window7(shared)], 1)


class FaceDetector(nn.Module):
    """Picture [B, 3, H, W], RGB in [0, 255] -> boxes [B, P, 4], scores [B, P], landmarks [B, P, 5, 2].

    One candidate per prior box; boxes are (left, top, right, bottom), and everything is in pixels of the picture.
    """

    def __init__(self, size: FaceDetectorSize) -> None:
        super().__init__()
        self.backbone = ResNet(size.backbone)
        self.pyramid = FeaturePyramid(size.backbone.channels[1:], size.width)
        self.context = nn.ModuleList(ContextModule(size.width) for _ in STRIDES)
        self.boxes, self.scores, self.landmarks = (
            nn.ModuleList(nn.Conv2d(size.width, n * len(sizes), 1) for sizes in PRIOR_SIZES)
            for n in (4, 2, 2 * LANDMARKS)
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores, landmarks = self.regress(picture.flip(1) - picture.new_tensor(MEAN)[:, None, None])
        height, width = picture.shape[2:]
        priors = prior_boxes(height, width).to(picture)
        size = picture.new_tensor([width, height])
        boxes = decode_boxes(boxes.clamp(max=LARGEST_OFFSET), priors) * size.repeat(2)
        landmarks = decode_landmarks(landmarks, priors).reshape(*scores.shape[:2], LANDMARKS, 2) * size
        return boxes, scores[:, :, 1], landmarks

    def regress(self, centred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes [B, P, 4], probabilities [B, P, 2] and landmarks [B, P, 10] of a picture, BGR without `MEAN`.

        Boxes and landmarks are relative to the priors; the probabilities are those of no face and of a face.
        """
        maps = self.pyramid(self.backbone(centred)[1:])
        maps = [context(x) for context, x in zip(self.context, maps, strict=True)]
        boxes, scores, landmarks = (
            torch.cat([_per_prior(head(x), n) for head, x in zip(heads, maps, strict=True)], 1)
            for heads, n in ((self.boxes, 4), (self.scores, 2), (self.landmarks, 2 * LANDMARKS))
        )
        return boxes, F.softmax(scores, 2), landmarks


def prior_boxes(height: int, width: int) -> Tensor:
    """Return squares at every position of the three maps: (centre x, centre y, width, height) in shares, [P, 4]."""
    priors = []
    for stride, sizes in zip(STRIDES, PRIOR_SIZES, strict=True):
        y, x, s = torch.meshgrid(
            (torch.arange(-(-height // stride)) + 0.5) * stride / height,
            (torch.arange(-(-width // stride)) + 0.5) * stride / width,
            torch.tensor(sizes, dtype=torch.float32),
            indexing="ij",
        )
        priors.append(torch.stack([x, y, s / width, s / height], -1).flatten(0, 2))
    return torch.cat(priors)


def decode_boxes(offsets: Tensor, priors: Tensor) -> Tensor:
    """Return (left, top, right, bottom), in shares of the picture, from offsets [..., P, 4] and priors [P, 4]."""
    centre = priors[:, :2] + CENTRE_VARIANCE * offsets[..., :2] * priors[:, 2:]
    half = priors[:, 2:] * torch.exp(SIZE_VARIANCE * offsets[..., 2:]) / 2
    return torch.cat([centre - half, centre + half], -1)


def decode_landmarks(offsets: Tensor, priors: Tensor) -> Tensor:
    """Return (x, y) of five points, in shares of the picture, from offsets [..., P, 10] and priors [P, 4]."""
    return priors[:, :2].repeat(1, LANDMARKS) + CENTRE_VARIANCE * offsets * priors[:, 2:].repeat(1, LANDMARKS)


def _per_prior(head: Tensor, values: int) -> Tensor:
    """Return the head's map [B, priors * values, h, w] as [B, h * w * priors, values]."""
    return head.permute(0, 2, 3, 1).reshape(head.shape[0], -1, values)

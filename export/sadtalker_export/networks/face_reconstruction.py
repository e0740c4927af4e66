"""3DMM coefficients of a face (Deng et al. 2019): a ResNet-50 with one linear head per group of coefficients."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .resnet import ResNet, ResNetSize

# Order and length of the coefficient groups: identity, expression, texture, angles, illumination, x and y, z.
GROUPS = (80, 64, 80, 3, 27, 2, 1)


@dataclass(frozen=True)
class FaceReconstructionSize:
    backbone: ResNetSize = ResNetSize()


class FaceReconstruction(nn.Module):
    """Aligned face [B, 3, 224, 224], RGB in [0, 1] -> coefficients [B, 257]."""

    def __init__(self, size: FaceReconstructionSize) -> None:
        super().__init__()
        self.backbone = ResNet(size.backbone)
        self.heads = nn.ModuleList(nn.Conv2d(size.backbone.channels[-1], n, 1) for n in GROUPS)

    def forward(self, image: Tensor) -> Tensor:
        x = self.backbone(image)[-1].mean((2, 3), keepdim=True)
        return torch.cat([head(x) for head in self.heads], 1).flatten(1)

"""Blind face restoration, GFP-GAN (Wang et al. 2021) in its version 1.4: a U-Net that steers a StyleGAN2 generator."""

from dataclasses import dataclass

from torch import Tensor, nn

from .degradation_removal import DegradationRemoval
from .stylegan2 import StyleGan2


@dataclass(frozen=True)
class FaceEnhancerSize:
    latent: int = 512
    widths: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64)  # of the generator, from 4x4 to 512x512


class FaceEnhancer(nn.Module):
    """Aligned face [B, 3, R, R], RGB in [-1, 1] -> restored face, the same shape and roughly the same range.

    The generator's noise is the one stored in the checkpoint: the same face comes out the same every time.
    """

    def __init__(self, size: FaceEnhancerSize) -> None:
        super().__init__()
        # the U-Net's features steer half of the generator's channels
        self.degradation_removal = DegradationRemoval(size.latent, tuple(width // 2 for width in size.widths))
        self.generator = StyleGan2(size.latent, size.widths)

    def forward(self, face: Tensor) -> Tensor:
        latents, features = self.degradation_removal(face)
        restored: Tensor = self.generator(latents, features)
        return restored

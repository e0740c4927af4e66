"""StyleGAN2's synthesis network (Karras et al. 2020), steered by spatial features where a caller gives some.

Every convolution has static weights: a style scales the input of the convolution and a demodulation factor its output,
which is the same function as a convolution whose weights the style scales.
"""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
EPSILON = 1e-8
GAIN = math.sqrt(2)  # keeps the variance through the leaky ReLU


class Modulation(nn.Module):
    """A convolution whose input channels are scaled by a style: weights, and the style read from a latent."""

    def __init__(self, latent: int, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.style = nn.Linear(latent, channels_in)
        self.weight = nn.Parameter(torch.zeros(1, channels_out, channels_in, kernel, kernel))

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve `x` with the weights, which no style has scaled yet."""
        return F.conv2d(x, self.weight[0], padding=self.weight.shape[3] // 2)


class StyleConv(Modulation):
    """Modulated, demodulated 3x3 convolution with noise and a leaky ReLU; `upsample` doubles height and width first."""

    def __init__(self, latent: int, channels_in: int, channels_out: int, resolution: int, *, upsample: bool) -> None:
        super().__init__(latent, channels_in, channels_out, 3)
        self.noise = nn.Parameter(torch.zeros(1, 1, resolution, resolution))
        self.noise_strength = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1, channels_out, 1, 1))
        self.upsample = upsample

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        scale, demodulation = self.scales(latent)
        x = x * scale
        if self.upsample:
            x = double(x)
        x = self.convolve(x) * demodulation
        return F.leaky_relu(x + self.noise_strength * self.noise + self.bias, SLOPE)

    def scales(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factors of input and output: [B, in, 1, 1] and [B, out, 1, 1].

        The output has unit variance whatever the style's size, so the style is brought to at most 1 and squared and
        summed in float32: half precision can then neither overflow in the convolution nor vanish in the sum.
        """
        style = self.style(latent).float()
        largest = style.abs().amax(1, keepdim=True).clamp_min(EPSILON)
        style = style / largest
        energy = style.square() @ self.weight[0].float().square().sum((2, 3)).T
        demodulation = GAIN * torch.rsqrt(energy + EPSILON / largest.square())
        return style.to(latent.dtype)[:, :, None, None], demodulation.to(latent.dtype)[:, :, None, None]


class ToRgb(Modulation):
    """Modulated 1x1 convolution to three colours, not demodulated."""

    def __init__(self, latent: int, channels: int) -> None:
        super().__init__(latent, channels, 3, 1)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, latent: Tensor) -> Tensor:
        return self.convolve(x * self.style(latent)[:, :, None, None]) + self.bias


class StyleGan2(nn.Module):
    """Latents [B, 2 * levels, latent] -> image [B, 3, R, R], from `widths`[0] channels at 4x4 to the last at R.

    `features` holds a (scale, shift) per doubling, each [B, width / 2, r, r]: a spatial feature transform of the second
    half of the channels (Wang et al. 2021, GFP-GAN). The first half is left as the generator makes it.
    """

    def __init__(self, latent: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.zeros(1, widths[0], 4, 4))
        self.convs = nn.ModuleList([StyleConv(latent, widths[0], widths[0], 4, upsample=False)])
        self.to_rgb = nn.ModuleList([ToRgb(latent, widths[0])])
        for i, (before, width) in enumerate(pairwise(widths)):
            resolution = 8 * 2**i
            self.convs.append(StyleConv(latent, before, width, resolution, upsample=True))
            self.convs.append(StyleConv(latent, width, width, resolution, upsample=False))
            self.to_rgb.append(ToRgb(latent, width))

    def forward(self, latents: Tensor, features: list[tuple[Tensor, Tensor]]) -> Tensor:
        x = self.convs[0](self.constant, latents[:, 0])
        image: Tensor = self.to_rgb[0](x, latents[:, 1])
        for i, (scale, shift) in enumerate(features):
            first, second = 2 * i + 1, 2 * i + 2  # a convolution's index is also its latent's
            free, steered = self.convs[first](x, latents[:, first]).chunk(2, 1)
            x = self.convs[second](torch.cat([free, steered * scale + shift], 1), latents[:, second])
            image = double(image) + self.to_rgb[i + 1](x, latents[:, second + 1])
        return image


def double(x: Tensor) -> Tensor:
    """Upsample by two, bilinearly."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

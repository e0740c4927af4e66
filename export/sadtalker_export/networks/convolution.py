"""Convolution, batch normalisation, rectifier: the building block that most of the networks share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Conv = {2: nn.Conv2d, 3: nn.Conv3d}
BatchNorm = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class ConvNorm(nn.Module):
    """A convolution over the last `dims` axes, batch-normalised, then a (leaky) ReLU.

    `change` resamples height and width by two: "down" averages the result, "up" repeats the input first.
    Depth, where there is one, keeps its length.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        *,
        dims: int = 2,
        kernel: int = 3,
        change: str | None = None,
        slope: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.conv = Conv[dims](channels_in, channels_out, kernel, padding=kernel // 2, bias=bias)
        self.norm = BatchNorm[dims](channels_out)
        self.dims, self.change, self.slope = dims, change, slope

    def forward(self, x: Tensor) -> Tensor:
        if self.change == "up":
            x = repeat_pixels(x)
        x = F.leaky_relu(self.norm(self.conv(x)), self.slope)
        if self.change == "down":
            x = F.avg_pool2d(x, 2) if self.dims == 2 else F.avg_pool3d(x, (1, 2, 2))
        return x


def repeat_pixels(x: Tensor, factor: int = 2) -> Tensor:
    """Upsample height and width ([..., H, W] of rank 4 or 5) by repeating pixels."""
    scale = [1.0] * (x.dim() - 4) + [float(factor)] * 2
    return F.interpolate(x, scale_factor=scale, mode="nearest")


def inclusive_axis(length: int, like: Tensor) -> Tensor:
    """Return `length` coordinates from -1 to 1, both ends included."""
    return torch.linspace(-1, 1, length, dtype=like.dtype, device=like.device)


def inclusive_grid(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return the coordinates (x, y, z) of a D x H x W volume, both ends included: [D, H, W, 3]."""
    z, y, x = torch.meshgrid(*(inclusive_axis(n, like) for n in shape), indexing="ij")
    return torch.stack([x, y, z], -1)

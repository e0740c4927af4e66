"""3 x 3 convolutions by tiles, which take the fewest multiplications (Winograd 1980; Lavin and Gray 2016).

`toom_cook` has the algebra. Across pictures, 4 x 4 neighbouring outputs of a 3 x 3 kernel take 36 multiplications per
pair of channels instead of 144, and these are 36 plain matrix products over channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .spade import Modulation
from .toom_cook import toom_cook

OUTPUTS = 4
TAPS = 3
VALUES = OUTPUTS + TAPS - 1


class Tiles(nn.Module):
    """A reader of pictures in overlapping tiles of 6 x 6, evaluated: [B, C, H, W] -> [36, B * H/4 * W/4, C]."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.inputs = nn.Parameter(toom_cook(OUTPUTS, TAPS).inputs.to(like), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        # Channels last from here on: what is moved and multiplied are then whole vectors of channels.
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        rows = torch.stack([padded[:, i : i + h - OUTPUTS + 1 : OUTPUTS] for i in range(VALUES)])
        rows = (self.inputs @ rows.flatten(1)).reshape(VALUES, b, h // OUTPUTS, w + 2, c)
        tiles = torch.stack([rows[:, :, :, j : j + w - OUTPUTS + 1 : OUTPUTS] for j in range(VALUES)], 1)
        return (self.inputs @ tiles.flatten(2)).reshape(VALUES**2, -1, c)


class TileConvolution(nn.Module):
    """A 3 x 3, 1-padded convolution of the tiles that `Tiles` returns: [36, B * H/4 * W/4, C] -> [B, C', H, W]."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        algorithm = toom_cook(OUTPUTS, TAPS)
        self.channels = conv.in_channels
        # The engine evaluates the weights when it loads them: a file with the results would be 4 x as large.
        self.weight = nn.Parameter(conv.weight.permute(2, 3, 0, 1).reshape(TAPS**2, -1).clone(), requires_grad=False)
        self.weights = nn.Parameter(torch.kron(*[algorithm.weights] * 2).to(conv.weight), requires_grad=False)
        bias = torch.zeros_like(conv.weight[:, 0, 0, 0]) if conv.bias is None else conv.bias
        self.bias = nn.Parameter(bias.clone(), requires_grad=False)
        self.outputs = nn.Parameter(torch.kron(*[algorithm.outputs] * 2).to(conv.weight), requires_grad=False)

    def forward(self, tiles: Tensor, height: int, width: int) -> Tensor:
        channels = len(self.bias)
        weight = (self.weights @ self.weight).reshape(VALUES**2, channels, self.channels)
        products = tiles @ weight.transpose(1, 2)
        y = (self.outputs @ products.flatten(1)).reshape(
            OUTPUTS, OUTPUTS, -1, height // OUTPUTS, width // OUTPUTS, channels
        )
        y = y.permute(2, 3, 0, 4, 1, 5).reshape(-1, height, width, channels) + self.bias
        return y.permute(0, 3, 1, 2)


class WinogradConvolution(nn.Module):
    """The same function as a 3 x 3, 1-padded Conv2d on pictures whose sides are multiples of 4."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.tiles, self.conv = Tiles(conv.weight), TileConvolution(conv)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.tiles(x), x.shape[2], x.shape[3])
        return out


class WinogradModulation(nn.Module):
    """The same function as a `Modulation`, whose two convolutions read the same tiles."""

    def __init__(self, modulation: Modulation) -> None:
        super().__init__()
        self.tiles = Tiles(modulation.gamma.weight)
        self.gamma, self.beta = TileConvolution(modulation.gamma), TileConvolution(modulation.beta)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        tiles = self.tiles(hidden)
        size = hidden.shape[2:]
        out: Tensor = x * self.gamma(tiles, *size) + self.beta(tiles, *size)
        return out

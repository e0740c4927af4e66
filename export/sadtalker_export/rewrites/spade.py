"""The SPADE decoder with its modulation computed where it is cheapest.

- All networks that read the features in front of the middle blocks are one convolution.
- In front of the doublings they read an upsampled map: a transposed convolution on the small map instead.
- The 1 of (1 + gamma) lies in a bias. gamma and beta stay two convolutions, though they read the same: so their
  product and sum with the frame become the tail of a convolution, and nothing as large has to be split.
- The learned shortcut is linear after its normalisation: its beta goes through the 1x1 weights beforehand.
- Normalising and repeating pixels commute: the smaller map is normalised, once for both of its readers.
- Spectral norm is divided out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.convolution import repeat_pixels
from ..networks.spade_decoder import SLOPE, Spade, SpadeBlock, SpadeDecoder, SpectralConv2d, normalise
from .resize_convolution import ResizeConvolution


def frozen_conv(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """Return a same-padded convolution with these weights."""
    conv = nn.Conv2d(
        weight.shape[1], weight.shape[0], weight.shape[2], padding=weight.shape[2] // 2, bias=bias is not None
    )
    conv.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return conv


def plain_conv(conv: SpectralConv2d) -> nn.Conv2d:
    return frozen_conv(conv.weight, conv.bias)


class RepeatPixels(nn.Module):
    """Every pixel twice along both axes."""

    def forward(self, x: Tensor) -> Tensor:
        return repeat_pixels(x)


class Modulation(nn.Module):
    """x * (1 + gamma) + beta from the hidden features of a `Spade`, the 1 inside gamma's bias."""

    def __init__(self, spade: Spade) -> None:
        super().__init__()
        assert spade.gamma.bias is not None
        self.gamma = frozen_conv(spade.gamma.weight, spade.gamma.bias + 1)
        self.beta = spade.beta

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        out: Tensor = x * self.gamma(hidden) + self.beta(hidden)
        return out


class ModulatedConvolution(nn.Module):
    """A modulation, a leaky rectifier, a convolution."""

    def __init__(self, spade: Spade, conv: SpectralConv2d) -> None:
        super().__init__()
        self.modulation, self.conv = Modulation(spade), plain_conv(conv)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        out: Tensor = self.conv(F.leaky_relu(self.modulation(x, hidden), SLOPE))
        return out


class FastSpadeBlock(nn.Module):
    """`SpadeBlock` on modulation features that were already computed: [B, hidden per Spade, H, W]."""

    def __init__(self, block: SpadeBlock) -> None:
        super().__init__()
        self.first = ModulatedConvolution(block.spade0, block.conv0)
        self.second = ModulatedConvolution(block.spade1, block.conv1)
        self.learned_shortcut = block.learned_shortcut
        self.spades = 3 if block.learned_shortcut else 2
        if block.learned_shortcut:
            skip, spade = block.conv_skip.weight, block.spade_skip
            assert spade.gamma.bias is not None and spade.beta.bias is not None
            self.skip_gamma = frozen_conv(spade.gamma.weight, spade.gamma.bias + 1)
            self.skip_beta = frozen_conv(
                torch.einsum("oc,cikl->oikl", skip[:, :, 0, 0], spade.beta.weight), skip[:, :, 0, 0] @ spade.beta.bias
            )
            self.skip = frozen_conv(skip, None)
        self.repeat: nn.Module = RepeatPixels()

    def forward(self, x: Tensor, shared: list[Tensor], doubled: bool = False) -> Tensor:
        """Return [B, C', H, W], or twice the size, for x [B, C, H, W]; `shared`: a map per Spade, at the new size."""
        normal = normalise(x)
        if doubled:
            x, normal = self.repeat(x), self.repeat(normal)
        y = self.second(normalise(self.first(normal, shared[0])), shared[1])
        if self.learned_shortcut:
            x = self.skip(normal * self.skip_gamma(shared[2])) + self.skip_beta(shared[2])
        out: Tensor = y + x
        return out


class Doubling(nn.Module):
    """`FastSpadeBlock` behind a doubling, with what its Spades read: x, features -> x at twice the size."""

    def __init__(self, block: SpadeBlock, factor: int) -> None:
        super().__init__()
        self.shared = ResizeConvolution(*_shared_weights([block]), factor)
        self.block = FastSpadeBlock(block)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        shared = F.relu(self.shared(features)).chunk(self.block.spades, 1)
        out: Tensor = self.block(x, list(shared), doubled=True)
        return out


class FastSpadeDecoder(nn.Module):
    """The same function as `SpadeDecoder`: features [B, C, H, W] -> frames [B, 3, 4H, 4W].

    Another form may replace `enter` and `leave` to change the order of the pixels between them.
    """

    def __init__(self, decoder: SpadeDecoder) -> None:
        super().__init__()
        self.stem, self.to_rgb = decoder.stem, decoder.to_rgb
        self.enter: nn.Module = nn.Identity()
        self.leave: nn.Module = nn.Identity()
        middle = [block for block in decoder.middle if isinstance(block, SpadeBlock)]
        up = [block for block in decoder.up if isinstance(block, SpadeBlock)]
        weight, bias = _shared_weights(middle)
        self.middle_shared = frozen_conv(weight, bias)
        self.middle = nn.ModuleList(FastSpadeBlock(block) for block in middle)
        self.up = nn.ModuleList(Doubling(block, 2 ** (i + 1)) for i, block in enumerate(up))

    def forward(self, features: Tensor) -> Tensor:
        entered = self.enter(features)
        x = self.stem(entered)
        shared = F.relu(self.middle_shared(entered)).chunk(2 * len(self.middle), 1)
        for i, block in enumerate(self.middle):
            x = block(x, list(shared[2 * i : 2 * i + 2]))
        for double in self.up:
            x = double(x, features)
        return torch.sigmoid(self.to_rgb(F.leaky_relu(self.leave(x), SLOPE)))


def _shared_weights(blocks: list[SpadeBlock]) -> tuple[Tensor, Tensor]:
    """Return the convolutions that all Spades of these blocks apply to the features, stacked along the channels."""
    spades = [s for b in blocks for s in ([b.spade0, b.spade1] + ([b.spade_skip] if b.learned_shortcut else []))]
    biases = [s.shared.bias for s in spades if s.shared.bias is not None]
    return torch.cat([s.shared.weight for s in spades]), torch.cat(biases)

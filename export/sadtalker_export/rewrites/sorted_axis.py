"""Convolutions with half the multiplications, of pictures whose rows (volumes whose depths) are sorted by remainder.

Rows whose index is a multiple of 4 come first, then those that leave a remainder of 1, 2, 3. All rows of one remainder,
a phase, are then contiguous, and `toom_cook` along the axis becomes weighted sums of phases, one narrower convolution
for each of the 6 sums, and weighted sums of their results. Pixel-wise operations and statistics over all pixels do not
depend on the order, so a whole network can stay in it. Nothing has to be gathered in tiles as in `winograd`, and
bfloat16 loses less than there: sums over one axis are shorter than over two. benchmarks/README.md has the figures.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.spade_decoder import SLOPE
from .resize_convolution import ResizeConvolution
from .spade import ModulatedConvolution
from .toom_cook import toom_cook

OUTPUTS = 4
PIECE = 3  # taps that are best taken together in few digits
AXIS = 2  # rows of [B, C, H, W], depths of [B, C, D, H, W]


class Sort(nn.Module):
    """The order of an axis, whose length is a multiple of 4, by remainder instead of by place."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(_phases(x), AXIS)


class Unsort(nn.Module):
    """The inverse of `Sort`."""

    def forward(self, x: Tensor) -> Tensor:
        phases = x.reshape(*x.shape[:AXIS], OUTPUTS, x.shape[AXIS] // OUTPUTS, *x.shape[AXIS + 1 :])
        return phases.transpose(AXIS, AXIS + 1).flatten(AXIS, AXIS + 1)


class SortedRepeat(nn.Module):
    """Every pixel twice along both axes, [B, C, H, W] -> [B, C, 2H, 2W], with sorted rows before and after."""

    def forward(self, x: Tensor) -> Tensor:
        phase = x.shape[AXIS] // OUTPUTS
        rows = [(OUTPUTS * i + p) // 2 for p in range(OUTPUTS) for i in range(2 * phase)]
        places = torch.tensor([row % OUTPUTS * phase + row // OUTPUTS for row in rows])
        return F.interpolate(x.index_select(AXIS, places), scale_factor=[1.0, 2.0], mode="nearest")


class SortedConvolution(nn.Module):
    """The same function as a same-padded convolution along an axis that is sorted before and after.

    `conv` is a Conv2d or Conv3d with an odd kernel, or a `ResizeConvolution` of volumes, which keeps their depth. For a
    piece of a longer kernel, `first` is the offset of its first tap from the output. With `reads_natural` the input is
    in natural order and only the output is sorted.
    """

    def __init__(
        self,
        conv: nn.Conv2d | nn.Conv3d | ResizeConvolution,
        first: int | None = None,
        reads_natural: bool = False,
    ) -> None:
        super().__init__()
        weight = conv.weight
        convolve: Callable[..., Tensor]
        if isinstance(conv, ResizeConvolution):
            assert conv.stride == (1, 2, 2)
            weight = weight.flip(AXIS)  # a transposed convolution spreads what a convolution gathers
            convolve = partial(F.conv_transpose3d, stride=conv.stride, padding=(0, 1, 1))
        else:
            flat = [0, *[side // 2 for side in weight.shape[AXIS + 1 :]]]
            convolve = partial(F.conv2d if weight.dim() == 4 else F.conv3d, padding=flat)
        self.convolve, self.taps = convolve, weight.shape[AXIS]
        self.first = -(self.taps // 2) if first is None else first
        self.reads_natural = reads_natural
        algorithm = toom_cook(OUTPUTS, self.taps)
        pairs = _pairing(len(algorithm.weights))
        self.sums, self.results = (pairs @ algorithm.inputs).tolist(), (algorithm.outputs @ pairs).tolist()
        # The engine evaluates the weights when it loads them: a file with the results would be 2 x as large.
        self.evaluation = _constant(algorithm.weights.to(weight))
        self.weight = _constant(weight.movedim(AXIS, 0).flatten(1))
        self.shape = (-1, *weight.shape[:AXIS], 1, *weight.shape[AXIS + 1 :])
        # What is added to the products so that every result has the bias once.
        shares = torch.linalg.pinv(algorithm.outputs).sum(1).to(weight)
        self.biases = None if conv.bias is None else nn.ParameterList(_constant(s * conv.bias) for s in shares)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat(self.on_values(self.values(x)), AXIS)

    def values(self, x: Tensor) -> list[Tensor]:
        """Return the values that are convolved: one weighted sum of neighbouring rows per multiplication."""
        return self.values_of(_phases(x) if self.reads_natural else x.chunk(OUTPUTS, AXIS))

    def values_of(self, phases: Sequence[Tensor]) -> list[Tensor]:
        """Return the `values` of the phases."""
        rows = [_row(phases, self.first + i) for i in range(OUTPUTS + self.taps - 1)]
        return _plus_and_minus([_sum(factors, rows) for factors in self.sums])

    def on_values(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Return the phases of the result."""
        weights = (self.evaluation @ self.weight).reshape(self.shape).unbind()
        parts = zip(values, weights, self.biases or [None] * len(weights), strict=True)
        products = _plus_and_minus([self.convolve(value, weight, bias) for value, weight, bias in parts])
        return [_sum(factors, products) for factors in self.results]


class SortedModulatedConvolution(nn.Module):
    """The same function as a `ModulatedConvolution`, on sorted rows; gamma and beta read the same sums.

    With `reads_natural`, the rows that gamma and beta read are in natural order.
    """

    def __init__(self, modulated: ModulatedConvolution, reads_natural: bool = False) -> None:
        super().__init__()
        modulation = modulated.modulation
        self.gamma = SortedConvolution(modulation.gamma, reads_natural=reads_natural)
        self.beta = SortedConvolution(modulation.beta)
        self.conv = SortedConvolution(modulated.conv)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        values = self.gamma.values(hidden)
        parts = zip(x.chunk(OUTPUTS, AXIS), self.gamma.on_values(values), self.beta.on_values(values), strict=True)
        phases = [F.leaky_relu(part * gamma + beta, SLOPE) for part, gamma, beta in parts]
        return torch.cat(self.conv.on_values(self.conv.values_of(phases)), AXIS)


class LongConvolution(nn.Module):
    """`SortedConvolution` for a long kernel, in pieces of 3 taps and single ones: more at a time would lose more."""

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        taps = conv.kernel_size[0]
        places = range(-(taps // 2), taps - taps // 2)
        weights = dict(zip(places, conv.weight.chunk(taps, AXIS), strict=True))
        self.padding = [0, *[side // 2 for side in conv.kernel_size[1:]]]
        self.pieces = nn.ModuleList()
        while len(weights) >= PIECE:
            first = min(weights)
            piece = nn.Conv3d(1, 1, 1, bias=False)
            piece.weight = _constant(torch.cat([weights.pop(first + i) for i in range(PIECE)], AXIS))
            self.pieces.append(SortedConvolution(piece, first))
        self.singles, self.weights = list(weights), nn.ParameterList(map(_constant, weights.values()))
        assert conv.bias is not None
        self.bias = _constant(conv.bias.reshape(-1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        phases = x.chunk(OUTPUTS, AXIS)
        parts = []
        for piece in self.pieces:
            assert isinstance(piece, SortedConvolution)
            parts.append(piece.on_values(piece.values_of(phases)))
        for place, weight in zip(self.singles, self.weights, strict=True):
            rows = (_row(phases, place + i) for i in range(OUTPUTS))
            parts.append([F.conv3d(row, weight, padding=self.padding) for row in rows])
        ones = [1.0] * len(parts)
        return torch.cat([_sum(ones, terms) + self.bias for terms in zip(*parts, strict=True)], AXIS)


def _phases(x: Tensor) -> list[Tensor]:
    """Return the phases of an axis in its natural order."""
    return [x[:, :, p::OUTPUTS] for p in range(OUTPUTS)]


def _row(phases: Sequence[Tensor], place: int) -> Tensor:
    """Return the rows that lie `place` rows after those of the first phase; beyond the ends is padding."""
    by, phase = place // OUTPUTS, phases[place % OUTPUTS]
    if not by:
        return phase
    padded = F.pad(phase, (0, 0) * (phase.dim() - AXIS - 1) + ((1, 0) if by < 0 else (0, 1)))
    return padded[:, :, :-1] if by < 0 else padded[:, :, 1:]


def _sum(factors: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """Return the sum of the values, each weighed by its factor."""
    terms = [value if factor == 1 else value * factor for factor, value in zip(factors, values, strict=True) if factor]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _pairing(values: int) -> Tensor:
    """Return the matrix of half sums and half differences of a point's value and its opposite's: [values, values].

    A polynomial's even powers are the same at both, its odd powers opposite: half the factors become zero.
    """
    pairs = torch.eye(values, dtype=torch.float64)
    for i in range(1, values - 1, 2):
        pairs[i : i + 2, i : i + 2] = torch.tensor([[0.5, 0.5], [0.5, -0.5]])
    return pairs


def _plus_and_minus(values: Sequence[Tensor]) -> list[Tensor]:
    """Replace every pair by its sum and its difference; the first and the last, at 0 and infinity, have no partner."""
    pairs = zip(values[1:-1:2], values[2:-1:2], strict=True)
    return [values[0], *(value for a, b in pairs for value in (a + b, a - b)), values[-1]]


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(), requires_grad=False)

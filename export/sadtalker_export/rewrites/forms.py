"""The exact forms of every kind of layer that has more than one: the only list of them.

A form reads and writes its maps in an order of pixels. `NATURAL` is the plain one; in `SORTED` rows or depths lie by
remainder (`sorted_axis`); in `FLAT` depths lie as pictures of the batch (`flat_depth`). Which form is fastest differs
from one processor to the next: `portable` has a choice for all, `sadtalker_export.tactics` measures.
"""

from collections.abc import Callable, Mapping

from torch import nn

from .flat_depth import FlatConvolution, Flatten, Unflatten
from .narrow_convolution import VolumeNarrowConvolution
from .padded_convolution import PaddedConvolution
from .sampled_convolution import RowSampledConvolution
from .sorted_axis import LongConvolution, Sort, SortedConvolution, SortedModulatedConvolution, Unsort
from .winograd import TAPS, WinogradConvolution, WinogradModulation

NATURAL, SORTED, FLAT = "natural", "sorted", "flat"
PLAIN, TILES, ROWS, VOLUME = "plain", "tiles", "rows", "volume"
MULTIPLE = 16  # channels of a vector register of 512 bits

Build = Callable[..., nn.Module]
"""A maker of a form from the plain layer, given `depth` (of its volume) and `reads_natural` (in a sorted network)."""


def _plain(layer: nn.Module, **_: object) -> nn.Module:
    return layer


def _flat(join: str) -> Build:
    return lambda layer, depth, **_: FlatConvolution(layer, depth, join)


def _padded(layer: nn.Module, **_: object) -> nn.Module:
    assert isinstance(layer, nn.Conv2d | nn.Conv3d)
    return PaddedConvolution(layer, MULTIPLE)


def _between(enter: Build, build: Build, leave: Build) -> Build:
    """Return the form that changes the order before and after itself."""
    return lambda layer, **about: nn.Sequential(enter(**about), build(layer, **about), leave(**about))


def _sorted(layer: nn.Module, reads_natural: bool = False, **_: object) -> nn.Module:
    return SortedConvolution(layer, reads_natural=reads_natural)  # type: ignore[arg-type]


def _sort(**_: object) -> nn.Module:
    return Sort()


def _unsort(**_: object) -> nn.Module:
    return Unsort()


def _pieces(layer: nn.Module, **_: object) -> nn.Module:
    assert isinstance(layer, nn.Conv3d)
    return LongConvolution(layer)


def _flatten(**_: object) -> nn.Module:
    return Flatten()


def _unflatten(depth: int, **_: object) -> nn.Module:
    return Unflatten(depth)


_FLAT: Mapping[str, Build] = {"outputs": _flat("outputs"), "inputs": _flat("inputs")}

FORMS: Mapping[str, Mapping[str, Mapping[str, Build]]] = {
    "volume convolution": {NATURAL: {PLAIN: _plain, "padded": _padded}, SORTED: {"sorted": _sorted}, FLAT: _FLAT},
    "volume doubling": {NATURAL: {PLAIN: _plain}, SORTED: {"sorted": _sorted}, FLAT: _FLAT},
    "mask": {
        NATURAL: {
            PLAIN: _plain,
            "sorted": _between(_sort, _sorted, _unsort),
            "pieces": _between(_sort, _pieces, _unsort),
            **{name: _between(_flatten, build, _unflatten) for name, build in _FLAT.items()},
        }
    },
    "occlusion": {NATURAL: {PLAIN: _plain, VOLUME: lambda layer, depth, **_: VolumeNarrowConvolution(layer, depth)}},
    "sampled convolution": {
        NATURAL: {PLAIN: _plain, ROWS: lambda layer, depth, **_: RowSampledConvolution(layer, depth)}
    },
    "convolution": {
        NATURAL: {PLAIN: _plain, TILES: lambda layer, **_: WinogradConvolution(layer), "padded": _padded},
        SORTED: {"sorted": _sorted},
    },
    "modulation": {NATURAL: {PLAIN: _plain, TILES: lambda layer, **_: WinogradModulation(layer)}},
    "modulated convolution": {
        SORTED: {
            "sorted": lambda layer, reads_natural=False, **_: SortedModulatedConvolution(layer, reads_natural),
        }
    },
}
"""Kind of layer -> order -> name of the form -> its maker."""


def has_tiles(conv: nn.Conv2d) -> bool:
    """Return whether a convolution has other forms than the plain one."""
    return conv.kernel_size == (TAPS, TAPS)

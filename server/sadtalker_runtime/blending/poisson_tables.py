"""Tables for seamless blending, computed once per rectangle: which waves reach which lines, and how strongly."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sadtalker_runtime.arrays import Doubles, Floats
from sadtalker_runtime.blending.poisson_axis import AFTER, BEFORE, EDGE, FOLLOWING, STRIDE, Axis, Band, Nodes


class Accuracy(NamedTuple):
    """The number of terms for an error within a grey level; a paste with small steps at its edge needs fewer."""

    steps: int  # that the paste may make at its edge, grey levels
    cuts: tuple[int, ...]  # among the lines at an edge that are not interpolated: the further, the fewer waves
    negligible: float  # share of a wave's height below which it is left out

    @property
    def near(self) -> int:
        """Lines at either side that are not interpolated."""
        return self.cuts[-1]


CALM = Accuracy(8, (FOLLOWING, 8, 3 * STRIDE), 6e-2)
ANY = Accuracy(255, (FOLLOWING, 7, 11, 5 * STRIDE), 4e-3)
SMALLEST = 2 * (EDGE + ANY.near)  # side of a rectangle


def make_axis(points: int, lines: int, accuracy: Accuracy) -> Axis:
    """Return the waves along `lines` lines of `points` points; outside of them everything is zero."""
    half = (points + 1) // 2
    angle = np.pi / (points + 1) * np.arange(1, 2 * half + 1)  # where points are odd, the last wave is none
    waves = _waves(points, np.arange(1, points + 1), angle)
    near_lines = np.r_[1 : accuracy.near + 1, lines - accuracy.near + 1 : lines + 1]
    arriving = _wave_response(angle, lines, near_lines)
    # two kinds of sources at the last line of the paste arrive in one proportion on all lines but the very last
    merging = arriving[2, -2] / arriving[1, -2]
    correcting = arriving[2, -1] - merging * arriving[1, -1]
    line_of_node = _nodes(lines)
    nodes = _wave_response(angle, lines, line_of_node)[:2]
    own = accuracy.near - STRIDE  # lines at an edge on which its waves are not interpolated
    nodes[0, line_of_node <= own] = nodes[1, line_of_node > lines - own] = 0
    lacking = arriving[:2] - _interpolated(nodes, near_lines)
    near = []
    for start, stop in [(0, 1), *pairwise(accuracy.cuts)]:
        there = np.stack([lacking[0, start:stop], lacking[1, -stop : -start or None]])
        significant = _by_parity(_significant_waves(there, accuracy.negligible if start else 0))
        near.append(Band(start, stop, np.ascontiguousarray(np.moveaxis(significant, 2, 0)[:, :, :, None, None])))
    border = len(line_of_node) // 6  # further in, fewer waves remain
    places = slice(border), slice(border, -border), slice(-border, None)
    return Axis(
        points,
        len(near_lines),
        np.ascontiguousarray(_by_parity(waves[:half]).transpose(1, 2, 0)),
        _by_parity(merging)[:, None, None, None],
        _by_parity(correcting)[:, None, None, None],
        near,
        [_nodes_at(place, nodes, points, angle, accuracy.negligible) for place in places],
    )


def _nodes_at(place: slice, nodes: Doubles, points: int, angle: Doubles, negligible: float) -> Nodes:
    """Return the nodes at `place`, of what arrives at all nodes [edges, nodes, waves]."""
    arriving = _significant_waves(nodes[:, place], negligible).astype(np.float32)
    waves = _waves(points, _nodes(points), angle[: arriving.shape[2]])
    return Nodes(place, arriving, np.ascontiguousarray(waves.T, np.float32))


def _waves(points: int, at: Doubles | npt.NDArray[np.int64], angle: Doubles) -> Doubles:
    """Return waves [places along the lines, waves], orthonormal on the lines' points."""
    result: Doubles = np.sqrt(2 / (points + 1)) * np.sin(np.outer(at, angle))
    return result


def _by_parity(values: Doubles) -> Floats:
    """Separate odd from even waves: [..., 2 * waves] to [..., parities, waves]."""
    parities: Floats = np.stack([values[..., 0::2], values[..., 1::2]], -2).astype(np.float32)
    return parities


def _nodes(count: int) -> Doubles:
    """Return where nodes are among points 1 to `count`: as `cv2.resize` has them, and one beyond each end."""
    return STRIDE * (np.arange(-1, -(-count // STRIDE) + 1) + 0.5) + 0.5


def _interpolated(at_nodes: Doubles, lines: npt.NDArray[np.int64]) -> Doubles:
    """Interpolate linearly: [sources, nodes, waves] to [sources, lines, waves]."""
    position = (lines - 0.5) / STRIDE + 0.5
    before = position.astype(int)
    part = (position - before)[:, None]
    result: Doubles = at_nodes[:, before] * (1 - part) + at_nodes[:, before + 1] * part
    return result


def _significant_waves(arriving: Doubles, negligible: float) -> Doubles:
    """Return the waves [edges, lines, waves] that are not negligible where they arrive, an even number of them."""
    count = int((np.abs(arriving).max((0, 1)) > negligible).sum())
    return arriving[..., : max(2, count + count % 2)]


def _wave_response(angle: Doubles, lines: int, at: Doubles | npt.NDArray[np.int64]) -> Doubles:
    """Return how waves of unit height arrive across the lines, by kind of source: [sources, places, waves]."""
    last = lines - AFTER

    def response(source: int) -> Doubles:
        return _response(angle, lines, source, at[:, None])

    return np.stack(
        [
            response(BEFORE + 1) - response(BEFORE),
            response(last) - response(last + 1),
            # along its last line the paste has gradients that the blend's forward differences do not see
            (2 - 2 * np.cos(angle)) * response(last),
        ]
    )


def _response(angle: Doubles, lines: int, source: int, at: Doubles | npt.NDArray[np.int64]) -> Doubles:
    """Return the response across the lines to unit sources sin(angle x) on one line: [places, waves].

    The discrete Laplace operator's Green function is a product of sinh(rate y) with cosh rate = 2 - cos angle, here
    written with decaying exponentials only.
    """
    rate = np.arccosh(2 - np.cos(angle))
    near, far = np.minimum(at, source), lines + 1 - np.maximum(at, source)
    whole = 2 * np.sinh(rate) * np.expm1(-2 * rate * (lines + 1))
    result: Doubles = (
        np.exp(-rate * np.abs(at - source)) * np.expm1(-2 * rate * near) * np.expm1(-2 * rate * far) / whole
    )
    return result

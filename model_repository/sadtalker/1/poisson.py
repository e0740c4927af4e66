"""Frames blended into a picture without a seam: Poisson image editing (Pérez et al. 2003) on one fixed rectangle.

The blend has a frame's gradients inside of the rectangle and the picture's at its edge. A plain paste already solves
Poisson's equation for these gradients, except on the lines where the one ends and the other begins. So the blend is
the paste plus what sources on those lines radiate: sine waves along them, which decay away from them, the shorter the
faster. On the line next to the edge all waves are summed up; from it the equation leads to some more lines. Further in
few waves are left, and every fourth point is enough.
With a full mask `cv2.seamlessClone` has the same solution, from the sine transforms of the whole rectangle.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

# As in OpenCV: two pixels at the rectangle's edge stay the picture's (its mask ends at the first, the equation at the
# second), and further in the frame's gradients begin three pixels after the mask.
EDGE = 2
BEFORE, AFTER = 2, 1  # lines inside of that edge where nothing is pasted; a forward difference reaches one line on
STRIDE = 4
FOLLOWING = 5  # lines from an edge of which only the first is summed up: the others follow, rounding grows sixfold each
ACROSS = np.array([[-1, 4, -1]], np.float32)  # points along a line that make those at either side of it, in sum


class Care(NamedTuple):
    """How much is summed up to be right within a grey level. Where a paste hardly steps at its edge, less will do."""

    steps: int  # that the paste may make at its edge, grey levels
    cuts: tuple[int, ...]  # among the lines at an edge that are not interpolated: the further, the fewer waves
    negligible: float  # of a wave's height: where less of it is left it is left out

    @property
    def near(self) -> int:
        """Lines at either side that are not interpolated."""
        return self.cuts[-1]


CALM = Care(8, (FOLLOWING, 8, 3 * STRIDE), 6e-2)
ANY = Care(255, (FOLLOWING, 7, 11, 5 * STRIDE), 4e-3)
SMALLEST = 2 * (EDGE + ANY.near)  # side of a rectangle


class Band(NamedTuple):
    """Lines at `start` up to `stop` lines from an edge, and what arrives there of each wave that this edge radiates."""

    start: int
    stop: int
    arriving: Floats  # [parities, edges, lines, 1, 1, waves]; as lines lie in the picture


class Nodes(NamedTuple):
    """Nodes that follow each other across the lines, and what arrives there of each wave that an edge radiates."""

    place: slice
    arriving: Floats  # [edges, nodes, waves], but for an edge's own lines
    waves: Floats  # [waves, nodes along the lines]


class Radiation(NamedTuple):
    """What the first and the last line of the paste radiate."""

    steps: Floats  # [3, 3, F, points]: sources at the first line, at the last line, and others along the last line
    edges: Floats  # [parities, edges, 1, 3, F, waves]: heights of the waves
    at_last_line: Floats  # [parities, 1, 3, F, waves]: what the very last line has in addition


class Axis(NamedTuple):
    """Sine waves along the lines of one direction, the longest first, and their decay across the lines.

    Every other wave, from the first, has a second half that mirrors the first; the others' is the negative of it. So
    waves come in these two parities, and half of each is enough.
    """

    points: int
    near_lines: int  # of both edges
    waves: Floats  # [parities, waves, first half of the points], orthonormal
    merging: Floats  # [parities, 1, 1, 1, waves]: one kind of source at the last line in terms of the other,
    correcting: Floats  # [parities, 1, 1, 1, waves]: and what that misses on the very last line
    near: list[Band]  # what interpolation lacks
    nodes: list[Nodes]  # at every fourth line

    def radiation(self, first: Floats, last: Floats) -> Radiation:
        """Of the paste's steps at its first and last line [3, F, points pasted]."""
        half = self.waves.shape[2]
        steps = np.zeros((3, *first.shape[:2], self.points), np.float32)
        steps[0, ..., BEFORE : -AFTER - 1] = first[..., :-1]
        steps[1, ..., BEFORE : -AFTER - 1] = last[..., :-1]
        steps[2, ..., BEFORE:-AFTER] = last
        there, mirrored = steps[..., :half], steps[..., : -half - 1 : -1]
        folded = np.empty((2, *there.shape), np.float32)
        np.add(there, mirrored, out=folded[0])
        np.subtract(there, mirrored, out=folded[1])
        if self.points % 2:
            folded[0, ..., -1] /= 2  # the point in the middle is its own mirror image
        found = folded.reshape(2, -1, half) @ self.waves.swapaxes(1, 2)
        heights = found.reshape(2, 3, 1, *first.shape[:2], -1)
        heights[:, 1] += self.merging * heights[:, 2]
        return Radiation(steps, heights[:, :2], self.correcting * heights[:, 2])

    def at_nodes(self, radiation: Radiation) -> Iterator[tuple[slice, Floats, Floats]]:
        """Some nodes across the lines, [3, F, those nodes, waves]: heights of waves, and these waves."""
        most = max(len(nodes.waves) for nodes in self.nodes)
        first, last = radiation.edges[..., : most // 2].transpose(1, 3, 4, 2, 5, 0).reshape(2, 3, -1, 1, most)
        for place, arriving, waves in self.nodes:
            heights: Floats = first[..., : len(waves)] * arriving[0]
            heights += last[..., : len(waves)] * arriving[1]
            yield place, heights, waves

    def at_edges(self, radiation: Radiation) -> Floats:
        """The near lines as they lie in the picture: [lines, 3, F, points]."""
        frames, half = radiation.steps.shape[2], self.waves.shape[2]
        halves = np.empty((2, self.near_lines, 3 * frames, half), np.float32)
        for start, stop, arriving in self.near:
            count = arriving.shape[5]
            heights = radiation.edges[..., :count] * arriving
            if start == 0:
                heights[:, 1] += radiation.at_last_line
            waves = self.waves[:, :count]
            for edge, there in enumerate((slice(start, stop), slice(self.near_lines - stop, self.near_lines - start))):
                place = halves[:, there].reshape(2, -1, half)
                np.matmul(heights[:, edge].reshape(2, -1, count), waves, out=place)
        even, odd = halves.reshape(2, -1, half)
        whole = np.empty((len(even), self.points), np.float32)
        cv2.add(even, odd, whole[:, :half])
        cv2.flip(cv2.subtract(even, odd, odd), 1, whole[:, -half:])
        lines = whole.reshape(self.near_lines, 3 * frames, -1)
        first, last, along_last = radiation.steps.reshape(3, 3 * frames, -1)
        _follow(lines[:FOLLOWING], {1: -first, 2: first})
        _follow(lines[: -FOLLOWING - 1 : -1], {0: -last, 1: last + _across(along_last) - 2 * along_last})
        return lines.reshape(self.near_lines, 3, frames, -1)


class SeamlessRectangle:
    """One rectangle of one picture, ready for any number of frames.

    `picture` is uint8 [H, W, 3]; the rectangle's `top`, `left`, `height` and `width` are in pixels.
    Raises `ValueError` for a rectangle that is not inside the picture or too small.
    """

    def __init__(self, picture: Bytes, top: int, left: int, height: int, width: int) -> None:
        rows, columns = picture.shape[:2]
        if top < 0 or left < 0 or top + height > rows or left + width > columns:
            raise ValueError(
                f"expected a rectangle inside the picture of {columns} x {rows} pixels, "
                f"got {width} x {height} at ({left}, {top})"
            )
        if min(height, width) < SMALLEST:
            raise ValueError(f"expected a rectangle of at least {SMALLEST} pixels each way, got {width} x {height}")
        self._beneath = np.ascontiguousarray(picture[top : top + height, left : left + width])
        self._calm = self._axes(CALM)

    def _axes(self, care: Care) -> tuple[Axis, Axis]:
        """Of the rows, and of the columns."""
        height, width = (side - 2 * EDGE for side in self._beneath.shape[:2])
        return _axis(width, height, care), _axis(height, width, care)

    @cached_property
    def _any(self) -> tuple[Axis, Axis]:
        """For frames that are not calm, if there are any."""
        return self._axes(ANY)

    def blend(self, frames: Bytes) -> None:
        """Replace frames uint8 [F, height, width, 3] by what the rectangle shows with each of them in it."""
        inside = frames[:, EDGE:-EDGE, EDGE:-EDGE]
        pasted = slice(EDGE + BEFORE, -EDGE - AFTER)
        patches, beneath = frames[:, pasted, pasted], self._beneath[pasted, pasted]
        steps = [
            _difference(patches[:, 0], beneath[0]),
            _difference(patches[:, -1], beneath[-1]),
            _difference(patches[:, :, 0], beneath[:, 0]),
            _difference(patches[:, :, -1], beneath[:, -1]),
        ]
        largest = max(cv2.norm(line.ravel(), cv2.NORM_INF) for line in steps)
        row_axis, column_axis = self._calm if largest <= CALM.steps else self._any
        by_rows, by_columns = row_axis.radiation(*steps[:2]), column_axis.radiation(*steps[2:])
        nodes = _at_nodes(row_axis, by_rows, column_axis, by_columns)
        rows, columns = row_axis.at_edges(by_rows), column_axis.at_edges(by_columns)
        for edge in (slice(pasted.start), slice(pasted.stop, None)):
            frames[:, edge], frames[:, :, edge] = self._beneath[edge], self._beneath[:, edge]
        fine = None  # where all frames are worked on in turn
        near = len(rows) // 2
        edges = slice(near), slice(-near, None)
        for i, target in enumerate(inside):
            fine = cv2.resize(cv2.merge(list(nodes[:, i])), None, fine, STRIDE, STRIDE, cv2.INTER_LINEAR)
            # the outermost nodes lie outside
            levels = fine[STRIDE : STRIDE + target.shape[0], STRIDE : STRIDE + target.shape[1]]
            beside = cv2.transpose(columns[:, :, i].reshape(-1, len(target))).reshape(len(target), 2 * near, 3)
            for edge in edges:
                cv2.accumulate(cv2.merge([rows[edge, c, i] for c in range(3)]), levels[edge])
                cv2.accumulate(beside[:, edge], levels[:, edge])
            cv2.accumulate(target, levels)
            cv2.threshold(levels, 0, 0, cv2.THRESH_TOZERO, levels)  # what comes next would take -1 for 1
            cv2.convertScaleAbs(levels, target)


def _difference(lines: Bytes, beneath: Bytes) -> Floats:
    """Of lines [F, points, 3] and what is beneath them [points, 3]: [3, F, points]."""
    difference: Floats = np.subtract(lines.transpose(2, 0, 1), beneath.T[:, None], dtype=np.float32, order="C")
    return difference


def _at_nodes(row_axis: Axis, by_rows: Radiation, column_axis: Axis, by_columns: Radiation) -> Floats:
    """Of both directions: [3, F, nodes, nodes]."""
    down, across = (axis.nodes[0].waves.shape[1] for axis in (column_axis, row_axis))
    nodes = np.empty((*by_rows.steps.shape[1:3], down, across), np.float32)
    for place, heights, waves in row_axis.at_nodes(by_rows):
        nodes[:, :, place] = (heights.reshape(-1, len(waves)) @ waves).reshape(*heights.shape[:3], -1)
    for place, heights, waves in column_axis.at_nodes(by_columns):
        nodes[..., place] += waves.T @ heights.swapaxes(2, 3)
    return nodes


def _follow(lines: Floats, sources: dict[int, Floats]) -> None:
    """Make the others of `lines` [lines, 3 * F, points] from the first, by Poisson's equation with given sources."""
    for i, (line, after) in enumerate(pairwise(lines)):
        _across(line, after)
        if i > 0:
            cv2.subtract(after, lines[i - 1], after)
        if i in sources:
            cv2.add(after, sources[i], after)


def _across(lines: Floats, out: Floats | None = None) -> Floats:
    """What the lines at either side of each of some lines [lines, points] add up to, where there are no sources."""
    sums: Floats = cv2.filter2D(lines, -1, ACROSS, out, borderType=cv2.BORDER_CONSTANT)
    return sums


def _axis(points: int, lines: int, care: Care) -> Axis:
    """The waves along `lines` lines of `points` points; outside of them everything is zero."""
    half = (points + 1) // 2
    angle = np.pi / (points + 1) * np.arange(1, 2 * half + 1)  # where points are odd, the last wave is none
    waves = _waves(points, np.arange(1, points + 1), angle)
    near_lines = np.r_[1 : care.near + 1, lines - care.near + 1 : lines + 1]
    arriving = _arriving(angle, lines, near_lines)
    # two kinds of sources at the last line of the paste arrive in one proportion on all lines but the very last
    merging = arriving[2, -2] / arriving[1, -2]
    correcting = arriving[2, -1] - merging * arriving[1, -1]
    line_of_node = _nodes(lines)
    nodes = _arriving(angle, lines, line_of_node)[:2]
    own = care.near - STRIDE  # lines at an edge on which its waves are not interpolated
    nodes[0, line_of_node <= own] = nodes[1, line_of_node > lines - own] = 0
    lacking = arriving[:2] - _interpolated(nodes, near_lines)
    near = []
    for start, stop in [(0, 1), *pairwise(care.cuts)]:
        there = np.stack([lacking[0, start:stop], lacking[1, -stop : -start or None]])
        reaching = _by_parity(_reaching(there, care.negligible if start else 0))
        near.append(Band(start, stop, np.ascontiguousarray(np.moveaxis(reaching, 2, 0)[:, :, :, None, None])))
    border = len(line_of_node) // 6  # further in, fewer waves are left
    places = slice(border), slice(border, -border), slice(-border, None)
    return Axis(
        points,
        len(near_lines),
        np.ascontiguousarray(_by_parity(waves[:half]).transpose(1, 2, 0)),
        _by_parity(merging)[:, None, None, None],
        _by_parity(correcting)[:, None, None, None],
        near,
        [_nodes_at(place, nodes, points, angle, care.negligible) for place in places],
    )


def _nodes_at(place: slice, nodes: Doubles, points: int, angle: Doubles, negligible: float) -> Nodes:
    """Those at `place` of what arrives at nodes across the lines [edges, nodes, waves]."""
    arriving = _reaching(nodes[:, place], negligible).astype(np.float32)
    waves = _waves(points, _nodes(points), angle[: arriving.shape[2]])
    return Nodes(place, arriving, np.ascontiguousarray(waves.T, np.float32))


def _waves(points: int, at: Doubles | npt.NDArray[np.int64], angle: Doubles) -> Doubles:
    """[places along the lines, waves], orthonormal on the lines' points."""
    result: Doubles = np.sqrt(2 / (points + 1)) * np.sin(np.outer(at, angle))
    return result


def _by_parity(values: Doubles) -> Floats:
    """[..., 2 * waves] -> [..., parities, waves]"""
    return np.stack([values[..., 0::2], values[..., 1::2]], -2).astype(np.float32)


def _nodes(count: int) -> Doubles:
    """Where the nodes are among lines or points 1 to `count`: as `cv2.resize` has them, and one outside of each end."""
    return STRIDE * (np.arange(-1, -(-count // STRIDE) + 1) + 0.5) + 0.5


def _interpolated(at_nodes: Doubles, lines: npt.NDArray[np.int64]) -> Doubles:
    """[sources, nodes, waves] -> [sources, lines, waves], linearly."""
    position = (lines - 0.5) / STRIDE + 0.5
    before = position.astype(int)
    part = (position - before)[:, None]
    result: Doubles = at_nodes[:, before] * (1 - part) + at_nodes[:, before + 1] * part
    return result


def _reaching(arriving: Doubles, negligible: float) -> Doubles:
    """Of what arrives of waves [edges, lines, waves] all that is not negligible, an even number of waves."""
    count = int((np.abs(arriving).max((0, 1)) > negligible).sum())
    return arriving[..., : max(2, count + count % 2)]


def _arriving(angle: Doubles, lines: int, at: Doubles | npt.NDArray[np.int64]) -> Doubles:
    """Of waves of unit height at some places across the lines, from each kind of source: [sources, places, waves]."""
    last = lines - AFTER

    def response(source: int) -> Doubles:
        return _response(angle, lines, source, at[:, None])

    return np.stack(
        [
            response(BEFORE + 1) - response(BEFORE),
            response(last) - response(last + 1),
            # along its last line the paste has gradients that the blend, with its forward differences, has not
            (2 - 2 * np.cos(angle)) * response(last),
        ]
    )


def _response(angle: Doubles, lines: int, source: int, at: Doubles | npt.NDArray[np.int64]) -> Doubles:
    """What unit sources sin(angle x) on one line make at other places across the lines: [places, waves].

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

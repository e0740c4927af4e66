"""Frames blended into a picture without a seam: Poisson image editing (Pérez et al. 2003) on one fixed rectangle.

The blend has a frame's gradients inside of the rectangle and the picture's at its edge. A plain paste already solves
Poisson's equation for these gradients, except on the lines where the one ends and the other begins. So the blend is
the paste plus what sources on those lines radiate: sine waves along them, which decay away from them, the shorter the
faster. Near the lines all waves are summed up; away from them few are left, and every fourth point is enough.
With a full mask `cv2.seamlessClone` has the same solution, from the sine transforms of the whole rectangle.
"""

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
NEAR = 5 * STRIDE  # lines at either side that are not interpolated
CUTS = [0, 5, 7, 11, NEAR]  # among these lines: the further from the edge, the fewer waves reach them
SMALLEST = 2 * (EDGE + NEAR)  # side of a rectangle
NEGLIGIBLE = 4e-3  # of a wave's height: where less of it is left it is left out, below a grey level in sum


class Band(NamedTuple):
    """Lines at some distances from the nearer edge, and what arrives there of each wave from three kinds of sources."""

    distances: slice
    arriving: Floats  # [sources, 2 * distances, waves]: at the first edge, then at the last


class Axis(NamedTuple):
    """Sine waves along the lines of one direction, the longest first, and their decay across the lines."""

    waves: Floats  # [waves, points]
    symmetric: Floats  # the first half of every other wave, from the first: its second half is the mirror image,
    antisymmetric: Floats  # and of the others: theirs is the negative of it
    near: list[Band]  # what interpolation lacks
    nodes: Floats  # [sources, nodes, waves]: arriving at every fourth line; none near the edges
    node_waves: Floats  # [waves, nodes]

    def sources(self, first: Floats, last: Floats) -> Floats:
        """Waves in the paste's steps at its first and last line [F, points pasted, 3]: [sources, F * 3, waves]."""
        points = len(self.waves)
        steps = np.zeros((3, len(first), 3, points), np.float32)
        steps[0, ..., BEFORE : -AFTER - 1] = first[:, :-1].swapaxes(1, 2)
        steps[1, ..., BEFORE : -AFTER - 1] = last[:, :-1].swapaxes(1, 2)
        steps[2, ..., BEFORE:-AFTER] = last.swapaxes(1, 2)
        # the matrix of waves is symmetric, and its square is a multiple of the identity
        found = steps.reshape(-1, points) @ self.waves * np.float32(2 / (points + 1))
        return found.reshape(3, -1, points)

    def at_nodes(self, sources: Floats) -> Floats:
        """[nodes across the lines, F * 3, nodes along them]"""
        heights = _heights(sources, self.nodes)
        return (heights @ self.node_waves).reshape(self.nodes.shape[1], -1, self.node_waves.shape[1])

    def at_edges(self, sources: Floats) -> Floats:
        """[edges, NEAR, F * 3, points]; the lines of either edge counted from it."""
        points, half = len(self.waves), self.symmetric.shape[1]
        result = np.empty((2, NEAR, sources.shape[1], points), np.float32)
        for distances, arriving in self.near:
            heights = _heights(sources, arriving)
            mirrored = heights[:, 0::2].copy() @ self.symmetric[: (heights.shape[1] + 1) // 2]
            negated = heights[:, 1::2].copy() @ self.antisymmetric[: heights.shape[1] // 2]
            lines = result[:, distances]
            shape = *lines.shape[:3], half
            np.add(mirrored.reshape(shape), negated.reshape(shape), out=lines[..., :half])
            np.subtract(mirrored.reshape(shape), negated.reshape(shape), out=lines[..., : points - half - 1 : -1])
        return result


def _heights(sources: Floats, arriving: Floats) -> Floats:
    """Of all waves at each line: [lines * F * 3, waves]."""
    waves = arriving.shape[2]
    heights: Floats = np.einsum("sck,slk->lck", sources[..., :waves], arriving).reshape(-1, waves)
    return heights


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
        h, w = height - 2 * EDGE, width - 2 * EDGE
        self._rows, self._columns = _axis(points=w, lines=h), _axis(points=h, lines=w)

    def blend(self, frames: Bytes) -> None:
        """Replace frames uint8 [F, height, width, 3] by what the rectangle shows with each of them in it."""
        inside = frames[:, EDGE:-EDGE, EDGE:-EDGE]
        pasted = slice(EDGE + BEFORE, -EDGE - AFTER)
        patches, beneath = frames[:, pasted, pasted], self._beneath[pasted, pasted]

        def step(lines: slice, columns: slice) -> Floats:
            difference: Floats = np.subtract(patches[:, lines, columns], beneath[lines, columns], dtype=np.float32)
            return difference.reshape(len(frames), -1, 3)

        every, first, last = slice(None), slice(0, 1), slice(-1, None)
        by_rows = self._rows.sources(step(first, every), step(last, every))
        by_columns = self._columns.sources(step(every, first), step(every, last))
        nodes = self._rows.at_nodes(by_rows).swapaxes(0, 1) + self._columns.at_nodes(by_columns).transpose(1, 2, 0)
        rows, columns = self._rows.at_edges(by_rows), self._columns.at_edges(by_columns)
        for edge in (slice(pasted.start), slice(pasted.stop, None)):
            frames[:, edge], frames[:, :, edge] = self._beneath[edge], self._beneath[:, edge]
        fine = None  # where all frames are worked on in turn
        for i, target in enumerate(inside):
            channels = range(3 * i, 3 * i + 3)
            fine = cv2.resize(cv2.merge(list(nodes[3 * i : 3 * i + 3])), None, fine, STRIDE, STRIDE, cv2.INTER_LINEAR)
            # the outermost nodes lie outside
            radiated = fine[STRIDE : STRIDE + target.shape[0], STRIDE : STRIDE + target.shape[1]]
            for edge, lines in zip((slice(NEAR), slice(None, -NEAR - 1, -1)), rows, strict=True):
                radiated[edge] += cv2.merge([lines[:, c] for c in channels])
            for edge, lines in zip((slice(NEAR), slice(None, -NEAR - 1, -1)), columns, strict=True):
                radiated[:, edge] += cv2.merge([cv2.transpose(lines[:, c]) for c in channels])
            cv2.add(target, radiated, dst=target, dtype=cv2.CV_8U)


def _axis(points: int, lines: int) -> Axis:
    """The waves along `lines` lines of `points` points; outside of them everything is zero."""
    angle = np.pi / (points + 1) * np.arange(1, points + 1)
    line_of_node = _nodes(lines)
    nodes = _arriving(angle, lines, line_of_node)
    nodes[:, (line_of_node <= NEAR - STRIDE) | (line_of_node > lines - NEAR + STRIDE)] = 0
    lacking = _arriving(angle, lines, np.arange(1, lines + 1)) - _interpolated(nodes, lines)
    near = []
    for start, stop in pairwise(CUTS):
        both = np.concatenate([lacking[:, start:stop], lacking[:, ::-1][:, start:stop]], 1)
        near.append(Band(slice(start, stop), both[..., : _reaching(both)].astype(np.float32)))
    waves = np.sin(np.outer(angle, np.arange(1, points + 1))).astype(np.float32)
    half = (points + 1) // 2
    reaching = _reaching(nodes)
    return Axis(
        waves,
        np.ascontiguousarray(waves[0::2, :half]),
        np.ascontiguousarray(waves[1::2, :half]),
        near,
        nodes[..., :reaching].astype(np.float32),
        np.sin(np.outer(angle[:reaching], _nodes(points))).astype(np.float32),
    )


def _nodes(count: int) -> Doubles:
    """Where the nodes are among lines or points 1 to `count`: as `cv2.resize` has them, and one outside of each end."""
    return STRIDE * (np.arange(-1, -(-count // STRIDE) + 1) + 0.5) + 0.5


def _interpolated(at_nodes: Doubles, lines: int) -> Doubles:
    """[sources, nodes, waves] -> [sources, lines, waves], linearly."""
    position = (np.arange(lines) + 0.5) / STRIDE + 0.5
    before = position.astype(int)
    part = (position - before)[:, None]
    result: Doubles = at_nodes[:, before] * (1 - part) + at_nodes[:, before + 1] * part
    return result


def _reaching(arriving: Doubles) -> int:
    """How many waves are not negligible, at least one."""
    return max(1, int((np.abs(arriving).max((0, 1)) > NEGLIGIBLE).sum()))


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

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
    """Lines at `start` up to `stop` lines from an edge, and what arrives there of each wave that this edge radiates."""

    start: int
    stop: int
    arriving: Floats  # [parities, edges, 1, lines, 1, waves]; as lines lie in the picture


class Radiation(NamedTuple):
    """Heights of the waves that the first and the last line of the paste radiate."""

    edges: Floats  # [parities, edges, F, 3, waves]
    at_last_line: Floats  # [parities, F, 3, waves]: what the very last line has in addition


class Axis(NamedTuple):
    """Sine waves along the lines of one direction, the longest first, and their decay across the lines.

    Every other wave, from the first, has a second half that mirrors the first; the others' is the negative of it. So
    waves come in these two parities, and half of each is enough.
    """

    points: int
    waves: Floats  # [parities, waves, first half of the points]
    merging: Floats  # [parities, 1, 1, waves]: one kind of source at the last line in terms of the other,
    correcting: Floats  # [parities, 1, 1, waves]: and what that misses on the very last line
    near: list[Band]  # what interpolation lacks
    nodes: Floats  # [edges, nodes, parities * waves]: arriving at every fourth line, but for an edge's own lines
    node_waves: Floats  # [parities * waves, nodes]

    def radiation(self, first: Floats, last: Floats) -> Radiation:
        """Of the paste's steps at its first and last line [F, points pasted, 3]."""
        steps = np.zeros((3, len(first), 3, self.points), np.float32)
        steps[0, ..., BEFORE : -AFTER - 1] = first[:, :-1].swapaxes(1, 2)
        steps[1, ..., BEFORE : -AFTER - 1] = last[:, :-1].swapaxes(1, 2)
        steps[2, ..., BEFORE:-AFTER] = last.swapaxes(1, 2)
        mirrored, half = steps[..., ::-1], self.waves.shape[2]
        folded = np.stack([(steps + mirrored)[..., :half], (steps - mirrored)[..., :half]])
        if self.points % 2:
            folded[0, ..., -1] /= 2  # the point in the middle is its own mirror image
        # the waves are orthogonal, and of one length
        found = (2 / (self.points + 1) * folded).reshape(2, -1, half) @ self.waves.swapaxes(1, 2)
        at_first, at_last, along_last = found.reshape(2, *steps.shape[:3], -1).swapaxes(0, 1)
        return Radiation(np.stack([at_first, at_last + self.merging * along_last], 1), self.correcting * along_last)

    def at_nodes(self, radiation: Radiation) -> Floats:
        """[F, 3, nodes across the lines, parities * waves]: heights of `node_waves`."""
        frames = radiation.edges.shape[2]
        waves = np.moveaxis(radiation.edges[..., : self.nodes.shape[2] // 2], 0, 3).reshape(2, frames, 3, 1, -1)
        heights: Floats = waves[0] * self.nodes[0]
        heights += waves[1] * self.nodes[1]
        return heights

    def at_edges(self, radiation: Radiation) -> Floats:
        """The first `NEAR` lines and the last, as they lie in the picture: [F, 2 * NEAR, 3, points]."""
        edges = radiation.edges[:, :, :, None]
        frames, half = edges.shape[2], self.waves.shape[2]
        lines = np.empty((frames, 2 * NEAR, 3, self.points), np.float32)
        for start, stop, arriving in self.near:
            waves = arriving.shape[5]
            heights = edges[..., :waves] * arriving
            if start == 0:
                heights[:, 1, :, -1] += radiation.at_last_line[..., :waves]
            halves = heights.reshape(2, -1, waves) @ self.waves[:, :waves]
            even, odd = halves.reshape(*heights.shape[:5], half)
            for edge, there in enumerate((slice(start, stop), slice(2 * NEAR - stop, 2 * NEAR - start))):
                np.add(even[edge], odd[edge], out=lines[:, there, :, :half])
                np.subtract(even[edge], odd[edge], out=lines[:, there, :, : self.points - half - 1 : -1])
        return lines


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
        by_rows = self._rows.radiation(step(first, every), step(last, every))
        by_columns = self._columns.radiation(step(every, first), step(every, last))
        nodes = self._at_nodes(by_rows, by_columns)
        rows, columns = self._rows.at_edges(by_rows), self._columns.at_edges(by_columns)
        for edge in (slice(pasted.start), slice(pasted.stop, None)):
            frames[:, edge], frames[:, :, edge] = self._beneath[edge], self._beneath[:, edge]
        fine = None  # where all frames are worked on in turn
        edges = slice(NEAR), slice(-NEAR, None)
        for i, target in enumerate(inside):
            fine = cv2.resize(cv2.merge(list(nodes[i])), None, fine, STRIDE, STRIDE, cv2.INTER_LINEAR)
            # the outermost nodes lie outside
            levels = fine[STRIDE : STRIDE + target.shape[0], STRIDE : STRIDE + target.shape[1]]
            beside = cv2.transpose(columns[i].reshape(-1, len(target))).reshape(len(target), 2 * NEAR, 3)
            for edge in edges:
                levels[edge] += cv2.merge([rows[i, edge, c] for c in range(3)])
                levels[:, edge] += beside[:, edge]
            cv2.accumulate(target, levels)
            cv2.threshold(levels, 0, 0, cv2.THRESH_TOZERO, levels)  # what comes next would take -1 for 1
            cv2.convertScaleAbs(levels, target)

    def _at_nodes(self, by_rows: Radiation, by_columns: Radiation) -> Floats:
        """Of both directions, in one matrix product for each frame and colour: [F, 3, nodes, nodes]."""
        across, down = self._rows.at_nodes(by_rows), self._columns.at_nodes(by_columns)
        row_waves, column_waves = (
            np.broadcast_to(waves, (*across.shape[:2], *waves.shape))
            for waves in (self._rows.node_waves, self._columns.node_waves.T)
        )
        nodes: Floats = np.concatenate([across, column_waves], 3) @ np.concatenate([row_waves, down.swapaxes(2, 3)], 2)
        return nodes


def _axis(points: int, lines: int) -> Axis:
    """The waves along `lines` lines of `points` points; outside of them everything is zero."""
    half = (points + 1) // 2
    angle = np.pi / (points + 1) * np.arange(1, 2 * half + 1)  # where points are odd, the last wave is none
    waves = np.sin(np.outer(np.arange(1, points + 1), angle))
    arriving = _arriving(angle, lines, np.arange(1, lines + 1))
    # two kinds of sources at the last line of the paste arrive in one proportion on all lines but the very last
    merging = arriving[2, -2] / arriving[1, -2]
    correcting = arriving[2, -1] - merging * arriving[1, -1]
    line_of_node = _nodes(lines)
    nodes = _arriving(angle, lines, line_of_node)[:2]
    nodes[0, line_of_node <= NEAR - STRIDE] = nodes[1, line_of_node > lines - NEAR + STRIDE] = 0
    lacking = arriving[:2] - _interpolated(nodes, lines)
    near = []
    for start, stop in pairwise(CUTS):
        own = _reaching(np.stack([lacking[0, start:stop], lacking[1, lines - stop : lines - start]]))
        near.append(Band(start, stop, np.ascontiguousarray(np.moveaxis(own, 2, 0)[:, :, None, :, None])))
    at_nodes = _reaching(nodes).reshape(*nodes.shape[:2], -1)
    node_waves = np.sin(np.outer(_nodes(points), angle[: at_nodes.shape[2]]))
    return Axis(
        points,
        np.ascontiguousarray(_by_parity(waves[:half]).transpose(1, 2, 0)),
        _by_parity(merging)[:, None, None],
        _by_parity(correcting)[:, None, None],
        near,
        at_nodes,
        np.ascontiguousarray(_by_parity(node_waves).reshape(len(node_waves), -1).T),
    )


def _by_parity(values: Doubles) -> Floats:
    """[..., 2 * waves] -> [..., parities, waves]"""
    return np.stack([values[..., 0::2], values[..., 1::2]], -2).astype(np.float32)


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


def _reaching(arriving: Doubles) -> Floats:
    """Of what arrives of waves [edges, lines, waves] all that is not negligible: [edges, lines, parities, waves]."""
    count = int((np.abs(arriving).max((0, 1)) > NEGLIGIBLE).sum())
    return _by_parity(arriving[..., : max(2, count + count % 2)])


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

"""Sine waves along the lines of one direction, and how far they reach across the lines: the solver at run time.

`poisson_tables` computes an `Axis` once per rectangle; `poisson` sums two of them for every frame.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from sadtalker_runtime.arrays import Floats

# As in OpenCV: two pixels at the rectangle's edge stay the picture's (its mask ends at the first, the equation at the
# second), and further in the frame's gradients begin three pixels after the mask.
EDGE = 2
BEFORE, AFTER = 2, 1  # lines inside of that edge where nothing is pasted; a forward difference reaches one line on
STRIDE = 4
FOLLOWING = 5  # lines at an edge; all but the first follow by recurrence, which multiplies rounding errors by six
ACROSS = np.array([[-1, 4, -1]], np.float32)  # a line convolved with this is the sum of the lines on both sides of it


class Band(NamedTuple):
    """Lines `start` up to `stop` from an edge, and the share of each of this edge's waves that arrives there."""

    start: int
    stop: int
    arriving: Floats  # [parities, edges, lines, 1, 1, waves]; as lines lie in the picture


class Nodes(NamedTuple):
    """Consecutive nodes across the lines, and the share of each wave of either edge that arrives there."""

    place: slice
    arriving: Floats  # [edges, nodes, waves], but for an edge's own lines
    waves: Floats  # [waves, nodes along the lines]


class Radiation(NamedTuple):
    """The waves that the first and the last line of the paste radiate."""

    steps: Floats  # [3, 3, F, points]: sources at the first line, at the last line, and others along the last line
    edges: Floats  # [parities, edges, 1, 3, F, waves]: heights of the waves
    at_last_line: Floats  # [parities, 1, 3, F, waves]: added on the very last line


class Axis(NamedTuple):
    """Sine waves along the lines of one direction, the longest first, and their decay across the lines.

    The second half of every wave mirrors the first half, with the same sign (even parity: the first, third, ...) or the
    opposite one (odd parity). So half of each wave is enough.
    """

    points: int
    near_lines: int  # of both edges
    waves: Floats  # [parities, waves, first half of the points], orthonormal
    merging: Floats  # [parities, 1, 1, 1, waves]: expresses one kind of source at the last line by the other,
    correcting: Floats  # [parities, 1, 1, 1, waves]: and the error of that on the very last line
    near: list[Band]  # lines too near an edge for interpolation
    nodes: list[Nodes]  # at every fourth line

    def radiation(self, first: Floats, last: Floats) -> Radiation:
        """Return the waves radiated by the paste's steps at its first and last line [3, F, points pasted]."""
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
        """Yield groups of nodes across the lines, the heights of waves there [3, F, nodes, waves], and the waves."""
        most = max(len(nodes.waves) for nodes in self.nodes)
        first, last = radiation.edges[..., : most // 2].transpose(1, 3, 4, 2, 5, 0).reshape(2, 3, -1, 1, most)
        for place, arriving, waves in self.nodes:
            heights: Floats = first[..., : len(waves)] * arriving[0]
            heights += last[..., : len(waves)] * arriving[1]
            yield place, heights, waves

    def at_edges(self, radiation: Radiation) -> Floats:
        """Return the near lines, in the picture's order: [lines, 3, F, points]."""
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


def _follow(lines: Floats, sources: dict[int, Floats]) -> None:
    """Compute all but the first of `lines` [lines, 3 * F, points] by Poisson's equation with given sources."""
    for i, (line, after) in enumerate(pairwise(lines)):
        _across(line, after)
        if i > 0:
            cv2.subtract(after, lines[i - 1], after)
        if i in sources:
            cv2.add(after, sources[i], after)


def _across(lines: Floats, out: Floats | None = None) -> Floats:
    """Return the sum of the two neighbours of each of `lines` [lines, points], where there are no sources."""
    sums: Floats = cv2.filter2D(lines, -1, ACROSS, out, borderType=cv2.BORDER_CONSTANT)
    return sums

"""Frames blended into a picture without a seam: Poisson image editing (Pérez et al. 2003) on one fixed rectangle.

The blend has a frame's gradients inside of the rectangle and the picture's at its edge. A plain paste already solves
Poisson's equation for these gradients, except on the lines where the one ends and the other begins. So the blend is
the paste plus what sources on those lines radiate: sine waves along them, which decay away from them, the shorter the
faster. On the line next to the edge all waves are summed up; from it the equation leads to some more lines. Further in
few waves are left, and every fourth point is enough.
With a full mask `cv2.seamlessClone` has the same solution, from the sine transforms of the whole rectangle.
"""

from functools import cached_property

import cv2
import numpy as np

from sadtalker_runtime.arrays import Bytes, Floats
from sadtalker_runtime.blending.poisson_axis import AFTER, BEFORE, EDGE, STRIDE, Axis, Radiation
from sadtalker_runtime.blending.poisson_tables import ANY, CALM, SMALLEST, Accuracy, make_axis


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

    def _axes(self, accuracy: Accuracy) -> tuple[Axis, Axis]:
        """Return the axes of the rows and of the columns."""
        height, width = (side - 2 * EDGE for side in self._beneath.shape[:2])
        return make_axis(width, height, accuracy), make_axis(height, width, accuracy)

    @cached_property
    def _any(self) -> tuple[Axis, Axis]:
        """The axes for frames that are not calm, made when first needed."""
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
    """Return lines [F, points, 3] less what is beneath them [points, 3]: [3, F, points]."""
    difference: Floats = np.subtract(lines.transpose(2, 0, 1), beneath.T[:, None], dtype=np.float32, order="C")
    return difference


def _at_nodes(row_axis: Axis, by_rows: Radiation, column_axis: Axis, by_columns: Radiation) -> Floats:
    """Return what both directions add at the nodes: [3, F, nodes, nodes]."""
    down, across = (axis.nodes[0].waves.shape[1] for axis in (column_axis, row_axis))
    nodes = np.empty((*by_rows.steps.shape[1:3], down, across), np.float32)
    for place, heights, waves in row_axis.at_nodes(by_rows):
        nodes[:, :, place] = (heights.reshape(-1, len(waves)) @ waves).reshape(*heights.shape[:3], -1)
    for place, heights, waves in column_axis.at_nodes(by_columns):
        nodes[..., place] += waves.T @ heights.swapaxes(2, 3)
    return nodes

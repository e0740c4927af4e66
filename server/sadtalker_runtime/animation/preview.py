"""A drawing of what moves a face: the renderer's 3-D keypoints as a net, the head's axes, the expression.

It takes the network of motion alone, not the renderer: a look at coefficients costs next to nothing.
"""

import cv2
import numpy as np

from sadtalker_runtime.arrays import Array

GROUND, NET, REST = (24, 26, 30), (120, 128, 140), (70, 76, 86)
AXES = ((235, 90, 80), (95, 200, 110), (90, 140, 245))  # to the picture's right, down, and in depth
BARS = 0.2  # of the picture's height, at its lower edge
FULL_BAR = 2.0  # value of an expression coefficient that fills half of that
AXIS = 0.4  # length, in units of keypoints, of which the picture is 2 wide
RESOLUTION = 1000  # of the triangulation, in a unit of keypoints
SHIFT = 3  # binary digits of a pixel that OpenCV draws with


def drawn(source: Array, keypoints: Array, expressions: Array, side: int) -> Array:
    """Draw frames of a face: uint8 [n, side, side, 3], RGB.

    The net is the same in all frames: the Delaunay triangulation of the portrait's keypoints. Every keypoint has a
    colour of its own, a thin line from where the portrait has it, and a size that grows with its depth. The axes turn
    as the keypoints do from the portrait's to the frame's. Bars are the expression's coefficients.

    Args:
        source: float32 [K, 3], keypoints of the portrait, x and y in [-1, 1].
        keypoints: float32 [n, K, 3], of the frames.
        expressions: float32 [n, E], expression coefficients of the frames.
        side: pixels.
    """
    frames = np.full((len(keypoints), side, side, 3), GROUND, np.uint8)
    edges, colours = _net(source[:, :2]), _colours(len(source))
    rest = _pixels(source, side)
    for frame, points, values in zip(frames, keypoints, expressions, strict=True):
        places = _pixels(points, side)
        for a, b in edges:
            _line(frame, places[a], places[b], NET)
        depth = points[:, 2] - points[:, 2].min()
        radii = np.rint(side / 128 * (1.5 + 2 * depth / max(float(depth.max()), 1e-6))).astype(int)
        for place, origin, radius, colour in zip(places, rest, radii, colours, strict=True):
            _line(frame, origin, place, REST)
            cv2.circle(frame, place.tolist(), int(radius) << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
        middle = points.mean(0)
        for axis, colour in zip(rotation(source, points).T, AXES, strict=True):
            start, end = _pixels(np.stack([middle, middle + AXIS * axis]), side)
            _line(frame, start, end, colour)
        _draw_bars(frame, values)
    return frames


def rotation(source: Array, target: Array) -> Array:
    """Return the rotation [3, 3] that takes points [K, 3] nearest to others, after their means (Kabsch's algorithm)."""
    u, _, v = np.linalg.svd((target - target.mean(0)).T @ (source - source.mean(0)))
    u[:, -1] *= np.sign(np.linalg.det(u @ v))  # no mirror image
    turned: Array = u @ v
    return turned


def _net(points: Array) -> list[tuple[int, int]]:
    """Return the edges of the Delaunay triangulation of points [K, 2]."""
    places = np.rint((points - points.min(0)) * RESOLUTION) + 1
    division = cv2.Subdiv2D((0, 0, *(places.max(0).astype(int) + 2).tolist()))
    for place in places.tolist():
        division.insert(place)
    edges = set()
    for edge in np.array(division.getEdgeList()).reshape(-1, 2, 1, 2):
        distances = np.abs(edge - places).max(-1)  # [2, K]: those of other than points belong to its own triangle
        a, b = distances.argmin(1).tolist()
        if distances.min(1).max() < 0.5 and a != b:
            edges.add((min(a, b), max(a, b)))
    return sorted(edges)


def _colours(count: int) -> list[tuple[int, int, int]]:
    """Return colours that differ most, of equal strength."""
    hues = np.array([[[179 * i // count, 150, 235] for i in range(count)]], np.uint8)
    return [tuple(colour) for colour in cv2.cvtColor(hues, cv2.COLOR_HSV2RGB)[0].tolist()]


def _pixels(points: Array, side: int) -> Array:
    """Return where points are drawn, in parts of a pixel as `SHIFT` says: int [K, 2]."""
    places: Array = np.rint((np.clip(points[:, :2], -2, 2) + 1) / 2 * (side - 1) * (1 << SHIFT)).astype(int)
    return places


def _line(frame: Array, start: Array, end: Array, colour: tuple[int, int, int]) -> None:
    cv2.line(frame, start.tolist(), end.tolist(), colour, max(1, len(frame) // 256), cv2.LINE_AA, SHIFT)


def _draw_bars(frame: Array, values: Array) -> None:
    side = len(frame)
    middle, half = round(side * (1 - BARS / 2)), side * BARS / 2
    heights = np.rint(np.clip(values / FULL_BAR, -1, 1) * half).astype(int)
    ends = np.linspace(0, side, len(values) + 1).astype(int)
    for height, left, right in zip(heights, ends, ends[1:], strict=False):
        frame[min(middle, middle - height) : max(middle, middle - height) + 1, left : max(left + 1, right - 1)] = NET

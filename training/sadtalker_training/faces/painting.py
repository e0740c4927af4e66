"""Brushes for portraits: colours, soft shapes, noise, and pictures with the statistics of photographs."""

import cv2
import numpy as np

from ..coefficients import Floats

cv2.setNumThreads(1)


def colour(hue: float, saturation: float, value: float) -> Floats:
    """Return the RGB colour in [0, 1] of a hue in degrees."""
    hsv = np.array([[[hue % 360, saturation, value]]], np.float32)
    rgb: Floats = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]
    return rgb


def blur(picture: Floats, sigma: float) -> Floats:
    blurred: Floats = cv2.GaussianBlur(picture, (0, 0), sigma)
    return blurred


def noise(rng: np.random.Generator, cells: int, size: int, channels: int | None = None) -> Floats:
    """Return smooth noise in about [0, 1], `cells` to a side: [size, size(, channels)]."""
    coarse = rng.random((cells, cells) if channels is None else (cells, cells, channels), dtype=np.float32)
    fine: Floats = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return fine


def polygon(points: Floats, size: int, extent: float, softness: float) -> Floats:
    """Fill a polygon of points [N, 2] in [-extent, extent]: a soft mask [size, size]."""
    mask = np.zeros((size, size), np.uint8)
    pixels = ((np.asarray(points, np.float32) / extent * 0.5 + 0.5) * (size - 1) * 16).round().astype(np.int32)
    cv2.fillPoly(mask, [pixels], 255, cv2.LINE_AA, 4)
    return blur(mask.astype(np.float32) / 255, softness)


def fallen_leaves(rng: np.random.Generator, size: int) -> Floats:
    """Paint shapes that lie over each other, textured and lit: the dead-leaves model of photographs [size, size, 3].

    Sizes follow a power law, which gives the picture the edges and the spectrum of natural scenes.
    """
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = rng.random(3)
    saturation = rng.uniform(0, 0.7)
    for radius in np.sort(size * 0.5 * rng.pareto(1.5, 50).clip(0.02, 0.9))[::-1]:
        x, y = rng.uniform(0, size, 2)
        shade = rng.random(3)
        shade = saturation * shade + (1 - saturation) * shade.mean()
        sides = int(rng.integers(3, 9)) if rng.random() < 0.5 else 24
        angles = np.sort(rng.uniform(0, 2 * np.pi, sides)) if sides < 24 else np.linspace(0, 2 * np.pi, 24)
        stretch = rng.uniform(0.4, 1.6)
        outline = np.stack([x + radius * np.cos(angles) * stretch, y + radius * np.sin(angles)], 1)
        pixels = (outline * 16).round().astype(np.int32)
        cv2.fillPoly(picture, [pixels], [float(c) for c in shade], cv2.LINE_AA, 4)
    texture = sum(noise(rng, cells, size) - 0.5 for cells in (6, 24, 96))
    light = 1 + rng.uniform(0, 0.5) * texture + rng.uniform(0, 0.6) * (noise(rng, 3, size) - 0.5)
    lit: Floats = np.clip(blur(picture, rng.uniform(0.5, 1.2)) * light[..., None], 0, 1).astype(np.float32)
    return lit


def background(rng: np.random.Generator, size: int) -> Floats:
    """Paint the scene behind a person: a gradient, or leaves in or out of focus [size, size, 3]."""
    u = rng.uniform
    if rng.random() < 0.45:
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        slope = np.clip(axis[None] * u(-1, 1) + axis[:, None] * u(-1, 1) + 0.5, 0, 1)[..., None]
        first, second = colour(u(0, 360), u(0, 0.8), u(0, 1)), colour(u(0, 360), u(0, 0.8), u(0, 1))
        picture = first * slope + second * (1 - slope)
    else:
        picture = fallen_leaves(rng, size)
        if rng.random() < 0.5:
            picture = blur(picture, u(1, 8))
    if rng.random() < 0.4:
        picture = picture + u(0, 0.4) * (noise(rng, int(u(3, 60)), size, 3) - 0.5)
    clipped: Floats = np.clip(picture, 0, 1).astype(np.float32)
    return clipped

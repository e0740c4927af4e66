"""A face that can be drawn, and pictures in every encoding."""

import io

import cv2
import numpy as np
from PIL import Image


def drawn_face(size: int = 320) -> np.ndarray:
    """Draw a face, uint8 [size, size, 3], that the Haar cascade finds; its eyes are at 40 % and 60 % across."""
    picture = np.full((size, size, 3), (150, 170, 190), np.uint8)

    def ellipse(x: int, y: int, width: int, height: int, colour: tuple[int, int, int]) -> None:
        centre, axes = ((round(a * size / 320), round(b * size / 320)) for a, b in ((x, y), (width, height)))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    ellipse(160, 150, 95, 125, (70, 50, 40))  # hair
    ellipse(160, 170, 78, 102, (225, 190, 165))  # face
    for x in (128, 192):
        ellipse(x, 132, 22, 5, (80, 60, 50))  # brow
        ellipse(x, 152, 17, 9, (120, 85, 70))  # eye
        ellipse(x, 152, 13, 6, (245, 245, 245))
        ellipse(x, 152, 6, 6, (50, 40, 40))
    ellipse(160, 178, 7, 20, (240, 208, 185))  # nose
    ellipse(160, 200, 16, 6, (170, 120, 100))
    ellipse(160, 232, 28, 8, (170, 80, 80))  # mouth
    ellipse(160, 265, 40, 10, (205, 165, 140))  # chin
    return cv2.GaussianBlur(picture, (0, 0), size / 160)


def encoded(picture: np.ndarray | Image.Image, form: str = "PNG", **options: object) -> bytes:
    """Return the picture as a file in memory."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()

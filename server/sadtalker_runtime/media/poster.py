"""A frame as a picture file."""

import io
from fractions import Fraction

from PIL import Image

from sadtalker_runtime.arrays import Array


def png(picture: Array, pixel_aspect: Fraction) -> bytes:
    """Return a PNG file of a picture uint8 [height, width, 3], as wide as players show it with such pixels."""
    image = Image.fromarray(picture)
    if pixel_aspect != 1:
        image = image.resize((round(image.width * pixel_aspect), image.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

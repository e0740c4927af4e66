"""A frame as a PNG file."""

import io
from fractions import Fraction

from PIL import Image

from sadtalker_runtime.arrays import Array


def png(picture: Array, pixel_aspect: Fraction) -> bytes:
    """Return a PNG file of a picture uint8 [height, width, 3], with square pixels, as players would show it."""
    image = Image.fromarray(picture)
    if pixel_aspect != 1:
        image = image.resize((round(image.width * pixel_aspect), image.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

"""Decoding of an uploaded picture to RGB: size check before pixels, orientation, transparency, colour modes."""

import io
import struct

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError, excerpt

MAX_PIXELS = 64_000_000
REDUCED_PIXELS = 24_000_000
"""Pixels; larger pictures are halved after decoding: no video shows a face that finely, and copies are slow."""
MIN_SIDE = 64  # a face in fewer pixels has no mouth to animate
MAX_ASPECT = 100  # longer side by shorter; the search for a face shrinks the longer one to 640 pixels
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # raster formats only: no interpreter behind any of them

Image.MAX_IMAGE_PIXELS = None  # `decode` has its own limit, whose message names the size
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow raises on damaged files


def decode(data: bytes) -> Array:
    """Return the picture in `data` as uint8 [height, width, 3], RGB, upright, transparency over white.

    A picture of more than 24 megapixels comes in half its width and height. The size is read from the header and
    checked before any pixel is decoded.

    Raises:
        InputError: not a picture, damaged, more than 64 megapixels, a side under 64 pixels, or over 100 times
            as long as the other.
    """
    if not data:
        raise InputError("image: expected an encoded picture, got 0 bytes")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise InputError(
            f"image: expected an encoded picture ({', '.join(FORMATS)}), got {len(data)} bytes of something else"
        ) from error
    except _BROKEN as error:
        raise InputError(f"image: expected an intact picture, got a damaged one ({excerpt(error)})") from error
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InputError(f"image: expected at most {MAX_PIXELS // 10**6} megapixels, got {width} x {height} pixels")
        if min(width, height) < MIN_SIDE:
            raise InputError(f"image: expected at least {MIN_SIDE} pixels on each side, got {width} x {height} pixels")
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise InputError(
                f"image: expected sides of which none is more than {MAX_ASPECT} times as long as the other, "
                f"got {width} x {height} pixels"
            )
        try:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # copying 64 megapixels is slow
            rgb = _to_rgb(image)
            return np.asarray(rgb.reduce(2) if width * height > REDUCED_PIXELS else rgb)
        except _BROKEN as error:
            raise InputError(
                f"image: expected an intact {image.format}, got a damaged one ({excerpt(error)})"
            ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it
        grey = (np.asarray(image).astype(np.float32) / 257).clip(0, 255)
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        pixels = image if image.mode == "RGBA" else image.convert("RGBA")
        page = Image.new("RGB", pixels.size, "white")
        page.paste(pixels, mask=pixels.getchannel("A"))
        return page
    return image if image.mode == "RGB" else image.convert("RGB")

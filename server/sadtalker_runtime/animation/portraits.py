"""Encoded portraits, kept by content."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from fractions import Fraction

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.blending.scene import Scene


@dataclass(frozen=True)
class Portrait:
    """An encoded portrait."""

    renderer_inputs: dict[str, Array]
    """Tensors that every call of the renderer is given, by name, with a batch dimension of 1."""
    enhancer_inputs: dict[str, Array]
    """Further inputs of the renderer when the face is to be restored."""
    coefficients: Array
    """float32 [70]: 64 expression, 3 angles, 3 translations."""
    pixel_aspect: Fraction
    """Width of a face pixel by its height: not 1 where the picture's edge cut the face to an oblong."""
    placement: Array
    """float32 [3] where the whole picture is shown, else [0]: scale, x and y of the 3-D alignment, for the renderer."""
    scene: Scene | None
    """The whole picture where it is shown."""


def pixel_aspect(geometry: Array) -> Fraction:
    """Return a pixel's width by its height, for a face cut out by `geometry` and resized to a square.

    It is 1 where they differ by less than 1 %, so that players need not resample the picture.
    """
    left, top, right, bottom = map(int, geometry[:4])
    aspect = Fraction(right - left, bottom - top)
    return aspect if abs(aspect - 1) > Fraction(1, 100) else Fraction(1)


class PortraitCache:
    """A cache of the most recently used portraits, by the SHA-256 of the picture file and the options that matter.

    Callers that ask for the same new portrait at the same time share one encoding. A failed one is not kept.

    Args:
        encode: encodes a picture with those options.
        entries: how many are kept.
        on_lookup: called at every lookup with whether it was a hit; sharing a running encoding is one.
    """

    def __init__(
        self, encode: Callable[..., Awaitable[Portrait]], entries: int, on_lookup: Callable[[bool], None]
    ) -> None:
        self._encode = encode
        self._entries = entries
        self._on_lookup = on_lookup
        self._encodings: OrderedDict[Hashable, asyncio.Task[Portrait]] = OrderedDict()

    async def get(self, image: bytes, *asked: Hashable) -> Portrait:
        """Return `encode(image, *asked)`; raises what that raises."""
        key = hashlib.sha256(image).digest(), *asked
        encoding = self._encodings.get(key)
        self._on_lookup(encoding is not None)
        if encoding is None:
            encoding = asyncio.ensure_future(self._encode(image, *asked))
            encoding.add_done_callback(lambda done: self._forget_failure(key, done))
            self._encodings[key] = encoding
            while len(self._encodings) > self._entries:
                self._encodings.popitem(last=False)
        else:
            self._encodings.move_to_end(key)
        try:
            return await asyncio.shield(encoding)  # a caller who leaves must not cancel it for the others
        finally:
            del encoding  # an error that it keeps would keep this frame, and the frame the error and the picture

    def _forget_failure(self, key: Hashable, encoding: asyncio.Task[Portrait]) -> None:
        failed = encoding.cancelled() or encoding.exception() is not None
        if failed and self._encodings.get(key) is encoding:
            del self._encodings[key]

"""A picture enlarged by a network that sees one tile of it at a time.

Tiles have one size, so that an engine has one shape. They overlap, and of each only what lies nearer to its centre than
to another's is kept: at its edges the network knows too little.
"""

import asyncio
from itertools import pairwise

import numpy as np

from sadtalker_runtime.animation.calls import Call
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.enhancers import Background

OVERLAP = 32  # pixels that neighbouring tiles share at least
AT_ONCE = 4  # tiles of a picture that wait for the network, which can take them as one batch


async def enlarged(picture: Array, call: Call, background: Background) -> Array:
    """Return a picture at `background.scale` times its size: uint8 [H, W, 3] RGB to uint8 [scale H, scale W, 3].

    Raises what `call` raises.
    """
    (height, width), tile, scale = picture.shape[:2], background.tile, background.scale
    padding = [(0, max(0, tile - height)), (0, max(0, tile - width)), (0, 0)]
    padded = np.pad(picture, padding, "symmetric")  # a small picture is one tile, filled up with its mirror image
    result = np.empty((scale * height, scale * width, 3), np.uint8)
    places = [(rows, columns) for rows in spans(height, tile) for columns in spans(width, tile)]
    for group in (places[i : i + AT_ONCE] for i in range(0, len(places), AT_ONCE)):
        tiles = (padded[top : top + tile, left : left + tile][None] for (top, _, _), (left, _, _) in group)
        answers = await asyncio.gather(
            *(call(background.model, {"tiles": np.ascontiguousarray(each)}, "enlarged_tiles") for each in tiles)
        )
        for ((top, *rows), (left, *columns)), [answer] in zip(group, answers, strict=True):
            (above, below), (before, after) = ([scale * end for end in ends] for ends in (rows, columns))
            y, x = scale * top, scale * left
            result[above:below, before:after] = answer[0, above - y : below - y, before - x : after - x]
    return result


def spans(side: int, tile: int) -> list[tuple[int, int, int]]:
    """Return where the tiles along a side begin, and which pixels [start, stop) of the side each gives."""
    count = max(1, -(-(side - OVERLAP) // (tile - OVERLAP)))
    starts = [(side - tile) * i // max(1, count - 1) if side > tile else 0 for i in range(count)]
    ends = [(before + tile + after) // 2 for before, after in pairwise(starts)]
    return list(zip(starts, [0, *ends], [*ends, side], strict=True))

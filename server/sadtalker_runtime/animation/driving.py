"""Driving videos: the coefficients of their frames, found a little ahead of need.

Every frame is framed for the 3-D reconstruction as a portrait is (`portrait_crop`, alignment by five landmarks). A
detector's boxes tremble, and the reconstruction would take that for motion; so the face is looked for in every fifth
frame only (before the first face, in every fifteenth), and the frames' squares lie on a smooth curve through what was
found.
"""

import asyncio
import io
from collections import deque
from collections.abc import AsyncGenerator
from itertools import islice

import numpy as np
from PIL import Image

from sadtalker_runtime.animation.calls import Call
from sadtalker_runtime.animation.windows import SIZE, source_coefficients
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import CallError, InputError
from sadtalker_runtime.media.decoders import DecodedVideo
from sadtalker_runtime.timing import FRAME_RATE

GROUP = 5  # frames between two searches for the face; no more than face_reconstruction takes in a batch
KERNEL = np.array([1, 4, 6, 4, 1]) / 16  # over the searches, 0.2 s apart
REACH = len(KERNEL) // 2
SEARCH_SECONDS = 5.0  # before its first face; a search is slow where there is no face
SEARCH_GROUPS = 3  # between two searches until then
ALIGNED_SIZE = 224  # pixels, what the reconstruction sees


class DrivingFace:
    """The face in one video. Must be closed.

    Where no face is found for a while (0.8 s), the last frame's coefficients stay; before the first they are the first.
    """

    def __init__(self, call: Call, video: DecodedVideo) -> None:
        self._call = call
        self._video = video
        self._values = np.empty((video.frames, SIZE), np.float32)
        self._known = 0
        self._steps = self._follow()

    async def coefficients(self, start: int, stop: int) -> Array:
        """Return coefficients of frames [start, stop): float32 [stop - start, 70]; a short video goes back and forth.

        Raises:
            InputError: the video does not decode or shows no face.
        """
        there_and_back = max(2 * self._video.frames - 2, 1)
        frames = np.arange(start, stop) % there_and_back
        frames = np.minimum(frames, there_and_back - frames)
        while self._known <= frames.max():
            values = await anext(self._steps)
            self._values[self._known : self._known + len(values)] = values
            self._known += len(values)
        coefficients: Array = self._values[frames]
        return coefficients

    async def close(self) -> None:
        """Release the decoder."""
        await self._steps.aclose()
        self._video.close()

    async def _follow(self) -> AsyncGenerator[Array, None]:
        """Yield the coefficients of one group of frames after the other."""
        squares: list[Array | None] = []  # the result of each search, from the first face on
        waiting: deque[list[Array]] = deque()  # groups whose neighbours' squares are not all known
        faceless, last = 0, None
        pictures = self._video.pictures()

        def read() -> list[Array]:
            return list(islice(pictures, GROUP))

        group = await asyncio.to_thread(read)
        while group:
            square, following = None, None
            if squares:
                square = await self._look(group[0])
            elif faceless // GROUP % SEARCH_GROUPS == 0:  # until the first face, search less often
                square, following = await asyncio.gather(self._look(group[0]), asyncio.to_thread(read))
            if square is None and not squares:  # no face so far
                faceless += len(group)
                if faceless >= SEARCH_SECONDS * FRAME_RATE:
                    break
            else:
                squares.append(square)
                waiting.append(group)
                if len(waiting) > REACH + 1:
                    values = await self._reconstruct(waiting.popleft(), squares, len(squares) - len(waiting) - 1, last)
                    yield _after(faceless, values)
                    faceless, last = 0, values[-1]
            group = await asyncio.to_thread(read) if following is None else following
        for look, group in enumerate(waiting, len(squares) - len(waiting)):
            values = await self._reconstruct(group, squares, look, last)
            yield _after(faceless, values)
            faceless, last = 0, values[-1]
        if not squares:
            raise InputError(
                f"{self._video.name}: expected a frontal face, got a video without one in its first "
                f"{min(SEARCH_SECONDS, self._video.frames / FRAME_RATE):g} seconds"
            )

    async def _look(self, picture: Array) -> Array | None:
        """Return where the face is framed: float64 [3], centre and side of a square, pixels; None without a face."""
        file = io.BytesIO()
        await asyncio.to_thread(Image.fromarray(picture).save, file, "BMP")
        image = np.array([[file.getvalue()]], np.object_)
        try:
            geometry, alignment = await self._call("portrait_crop", {"image": image}, "geometry", "alignment")
        except CallError as error:
            if error.refused:
                return None
            raise
        return aligned_square(geometry[0], alignment[0], *picture.shape[1::-1])

    async def _reconstruct(
        self, pictures: list[Array], squares: list[Array | None], look: int, last: Array | None
    ) -> Array:
        """Return the coefficients of the frames from one search to the next: float32 [n, 70]."""
        if last is not None and all(s is None for s in squares[max(look - REACH, 0) : look + REACH + 1]):
            return np.repeat(last[None], len(pictures), axis=0)
        here, there = smoothed(squares, look), smoothed(squares, look + 1)
        faces = await asyncio.to_thread(
            lambda: [framed(p, here + (there - here) * at / GROUP) for at, p in enumerate(pictures)]
        )
        [found] = await self._call("face_reconstruction", {"image": np.stack(faces)}, "coefficients")
        return np.stack([source_coefficients(row) for row in found])


def _after(faceless: int, values: Array) -> Array:
    """Return the values [n, 70] and, in front of them, the first of them for every frame that had no face."""
    return np.concatenate([np.repeat(values[:1], faceless, axis=0), values])


def aligned_square(geometry: Array, alignment: Array, width: int, height: int) -> Array:
    """Return the square that portrait_crop aligned in a picture of this size: float64 [3], centre and side, pixels."""
    left, top, right, bottom, resized_width, resized_height = map(float, geometry)
    face_width, face_height, scale, x, y = map(float, alignment)
    across = (right - left) / face_width * width / resized_width  # picture pixels by pixel of the cut-out face
    down = (bottom - top) / face_height * height / resized_height
    return np.array(
        [
            left * width / resized_width + x * across,
            top * height / resized_height + (face_height - y) * down,
            ALIGNED_SIZE / scale * (across + down) / 2,
        ]
    )


def smoothed(squares: list[Array | None], look: int) -> Array:
    """Return the smoothed square of one search; a search without a result counts as the one before it."""
    indices = np.clip(np.arange(look - REACH, look + REACH + 1), 0, len(squares) - 1)
    square: Array = KERNEL @ np.stack([_latest(squares, index) for index in indices])
    return square


def _latest(squares: list[Array | None], look: int) -> Array:
    while (square := squares[look]) is None:
        look -= 1  # the first of them is a face
    return square


def framed(picture: Array, square: Array) -> Array:
    """Return the square of a picture as the reconstruction wants it, black beyond its edges: float32 [3, 224, 224]."""
    x, y, side = square
    left, top = np.floor([x - side / 2, y - side / 2]).astype(int)
    right, bottom = np.ceil([x + side / 2, y + side / 2]).astype(int)
    cut = Image.fromarray(picture).crop((left, top, right, bottom))
    box = (x - side / 2 - left, y - side / 2 - top, x + side / 2 - left, y + side / 2 - top)
    face = cut.resize((ALIGNED_SIZE, ALIGNED_SIZE), Image.Resampling.BICUBIC, box)
    return np.asarray(face, np.float32).transpose(2, 0, 1) / np.float32(255)

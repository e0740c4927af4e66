"""Decoding of an uploaded video to pictures at 25 per second, whatever its own rate: one at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError, excerpt
from sadtalker_runtime.media.audio import Sound, sound_of
from sadtalker_runtime.media.containers import opened
from sadtalker_runtime.timing import FRAME_RATE

LONGEST_SIDE = 1280  # pixels; larger pictures are shrunk: this is enough to find and reconstruct a face
SHORTEST_SIDE = 64  # pixels, as of a portrait
MAX_PIXELS = 4096 * 2304  # of a picture; a decoder holds several
ROUNDING = 0.01  # frames, the error of time stamps


@dataclass(frozen=True)
class Video:
    """A video whose length is known and of which nothing is decoded yet."""

    name: str
    """Name of the input that brought it, for messages."""
    data: bytes
    frames: int
    """Pictures at 25 per second, at least 1."""
    start: float
    """Time stamp of the first picture, seconds."""
    sound: Sound | None

    def pictures(self) -> Iterator[Array]:
        """Yield `frames` pictures at 25 per second, upright, with square pixels: uint8 [height, width, 3], RGB.

        Each is the one that a player shows at that time: of 60 per second some are left out, of 10 some come twice.
        Like in FFmpeg's own tools, packets that do not decode are left out.

        Raises:
            InputError: nothing decodes, or a picture is too large or too small.
        """
        shown, latest = 0, None
        with opened(self.name, self.data, "video") as container:
            stream = container.streams.video[0]
            # Of a picture that becomes larger on the way, too.
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            for position, frame in enumerate(_decoded(self.name, container, stream)):
                time = frame.time - self.start if frame.time is not None else position / _rate(stream)
                due = min(math.ceil(time * FRAME_RATE - ROUNDING), self.frames)  # pictures before this one
                if latest is not None and shown < due:
                    yield from [self._picture(latest, stream)] * (due - shown)
                    shown = due
                if shown == self.frames:
                    return
                latest = frame
            if latest is None:
                raise InputError(f"{self.name}: expected a video with pictures, got one of which none decodes")
            yield from [self._picture(latest, stream)] * (self.frames - shown)

    def _picture(self, frame: av.VideoFrame, stream: av.VideoStream) -> Array:
        _check_size(self.name, frame.width, frame.height)
        width, height = frame.width * float(stream.sample_aspect_ratio or 1), frame.height
        scale = min(1.0, LONGEST_SIDE / max(width, height))
        picture = frame.reformat(max(round(width * scale), 1), max(round(height * scale), 1), "rgb24").to_ndarray()
        return np.rot90(picture, frame.rotation // 90)  # both are counterclockwise


def inspect(name: str, data: bytes, max_seconds: float) -> Video:
    """Return the first video stream in `data`; `name` is the input's name in messages. No picture is decoded.

    Raises:
        InputError: nothing FFmpeg can read, no video stream, no frames, too large or small, or too long.
    """
    if not data:
        raise InputError(f"{name}: expected a video, got 0 bytes")
    with opened(name, data, "video") as container:
        stream = container.streams.video[0]
        _check_size(name, stream.codec_context.width, stream.codec_context.height)
        starts, end, packets = math.inf, -math.inf, 0
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:  # the flushing packet; frames cut off by an edit list
                    continue
                time = packets / _rate(stream) if packet.pts is None else float(packet.pts * packet.time_base)
                length = float(packet.duration * packet.time_base) if packet.duration else 1 / _rate(stream)
                starts, end, packets = min(starts, time), max(end, time + length), packets + 1
                if end - starts > max_seconds:
                    raise InputError(f"{name}: expected at most {max_seconds:g} seconds, got a longer video")
        except av.FFmpegError as error:
            raise InputError(
                f"{name}: expected a readable video, got one that breaks off ({excerpt(error)})"
            ) from error
        if not packets:
            raise InputError(f"{name}: expected a video with frames, got one without")
        return Video(name, data, max(round((end - starts) * FRAME_RATE), 1), starts, sound_of(container, data, starts))


def _decoded(name: str, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        except av.FFmpegError as error:
            raise InputError(
                f"{name}: expected a video that decodes, got one that does not ({excerpt(error)})"
            ) from error
        yield from frames


def _rate(stream: av.VideoStream) -> float:
    """Return the frames per second, where there are no time stamps."""
    return float(stream.average_rate or stream.guessed_rate or FRAME_RATE)


def _check_size(name: str, width: int, height: int) -> None:
    if min(width, height) < SHORTEST_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: expected pictures of at least {SHORTEST_SIDE} pixels on each side and at most "
            f"{MAX_PIXELS / 1e6:.1f} megapixels, got {width} x {height} pixels"
        )

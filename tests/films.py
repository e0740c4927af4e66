"""Videos in many forms, made with PyAV."""

import io
import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
import numpy as np
from PIL import Image

CLOCK = 1000  # time stamps per second


def film(
    pictures: Iterable[np.ndarray],
    rate: float = 25,
    *,
    times: Sequence[float] | None = None,
    container: str = "mp4",
    pixel_aspect: Fraction = Fraction(1),
    rotation: int = 0,
    sound: np.ndarray | None = None,
) -> bytes:
    """Return a video of pictures uint8 [height, width, 3], sides even.

    Args:
        times: seconds of each picture, where the rate is not constant; the last one lasts as long as the one before.
        pixel_aspect: width of a pixel by its height.
        rotation: degrees, counterclockwise, by which a player turns the pictures.
        sound: float32 [1, samples], 48 kHz.
    """
    file = io.BytesIO()
    pictures = list(pictures)
    times = [index / rate for index in range(len(pictures))] if times is None else times
    with av.open(file, "w", format=container) as muxer:
        stream = muxer.add_stream("libx264", rate=Fraction(rate).limit_denominator(), options={"crf": "10"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        stream.codec_context.time_base = Fraction(1, CLOCK)
        if sound is not None:
            audio = muxer.add_stream("aac", rate=48_000, layout="mono")
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(sound, format="fltp", layout="mono")
            frame.sample_rate = 48_000
            muxer.mux(audio.encode(frame))
            muxer.mux(audio.encode(None))
    return _turned(file.getvalue(), rotation) if rotation else file.getvalue()


def _turned(mp4: bytes, rotation: int) -> bytes:
    """Return the file with another matrix in its first track's header (ISO/IEC 14496-12, 8.3.2)."""

    def matrix(degrees: int) -> bytes:
        cosine, sine = (round(part * 2**16) for part in (np.cos(np.radians(degrees)), np.sin(np.radians(degrees))))
        return struct.pack(">9i", cosine, -sine, 0, sine, cosine, 0, 0, 0, 2**30)

    at = mp4.index(matrix(0), mp4.index(b"tkhd"))
    return mp4[:at] + matrix(rotation) + mp4[at + len(matrix(0)) :]


def pictures(video: bytes) -> np.ndarray:
    """Return all pictures of a video: uint8 [frames, height, width, 3]."""
    with av.open(io.BytesIO(video)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def grey(levels: Iterable[float], width: int = 64, height: int = 64) -> list[np.ndarray]:
    """Return pictures of one colour each, by which they are told apart."""
    return [np.full((height, width, 3), round(level), np.uint8) for level in levels]


def wandering(portrait: np.ndarray, frames: int, width: int = 320, height: int = 320) -> list[np.ndarray]:
    """Return a face that circles once a second: a window on a square `portrait` and its surroundings."""
    side, border = len(portrait), len(portrait)
    page = Image.fromarray(np.pad(portrait, ((border,) * 2, (border,) * 2, (0, 0)), "edge"))
    across, down = side * max(width / height, 1), side * max(height / width, 1)
    left, top = border + (side - across) / 2, border + (side - down) / 2
    pictures = []
    for index in range(frames):
        angle = 2 * np.pi * index / 25
        x, y = left + 0.08 * side * np.sin(angle), top + 0.08 * side * np.cos(angle)
        picture = page.resize((width, height), Image.Resampling.BICUBIC, (x, y, x + across, y + down))
        pictures.append(np.asarray(picture))
    return pictures

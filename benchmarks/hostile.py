"""A corpus of hostile files, generated from a seed: damaged, inconsistent, or larger than they look."""

import io
import struct
import wave
import zlib
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from PIL import Image

MUTATIONS = 6  # of every valid file


def many_channels(channels: int, rate: int = 48_000, seconds: float = 0.6) -> bytes:
    """Return a WAV file with the same tone in every channel."""
    tone = (9000 * np.sin(np.arange(round(rate * seconds)) * 0.05)).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((channels, 2, rate, 0, "NONE", ""))
        writer.writeframes(np.repeat(tone[:, None], channels, 1).tobytes())
    return file.getvalue()


def encoded_silence(seconds: float) -> bytes:
    """Return a small FLAC file that takes a while to be decoded."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as muxer:
        stream = muxer.add_stream("flac", rate=44_100, layout="stereo")
        block = np.zeros((1, 2 * 4096), np.int16)
        for _ in range(round(seconds * 44_100 / 4096)):
            frame = av.AudioFrame.from_ndarray(block, "s16", "stereo")
            frame.sample_rate = 44_100
            muxer.mux(stream.encode(frame))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def encoded_sound(codec: str, container: str, layout: str, channels: int = 2, **options: str) -> bytes:
    """Return half a second of a tone."""
    tone = (0.3 * np.sin(np.arange(24_000) * 0.05)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.repeat(tone[:, None], channels, 1).reshape(1, -1), "flt", layout)
    frame.sample_rate = 48_000
    file = io.BytesIO()
    with av.open(file, "w", format=container) as muxer:
        stream = muxer.add_stream(codec, rate=48_000, layout=layout, options=options)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, layout, 48_000, frame_size=context.frame_size or 1024)
        for block in [*resampler.resample(frame), *resampler.resample(None)]:
            muxer.mux(stream.encode(block))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def encoded_video(codec: str = "libx264", container: str = "mp4", pixel_format: str = "yuv420p") -> bytes:
    """Return six small pictures."""
    file = io.BytesIO()
    random = np.random.default_rng(1)
    with av.open(file, "w", format=container) as muxer:
        stream = muxer.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        for _ in range(6):
            picture = random.integers(0, 255, (64, 96, 3), np.uint8)
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def face_video(frames: int = 12) -> bytes:
    """Return the example portrait, moving a little."""
    portrait = Image.open(Path(__file__).resolve().parents[1] / "examples" / "portrait.jpg").convert("RGB")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as muxer:
        stream = muxer.add_stream("libx264", rate=25)
        stream.width, stream.height = 320, 320
        for index in range(frames):
            shown = portrait.resize((320, 320), box=(index, 0, portrait.width - frames + index, portrait.height))
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(shown), format="rgb24")))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def encoded_picture(form: str, mode: str = "RGB", size: tuple[int, int] = (96, 80), **options: object) -> bytes:
    """Return noise."""
    noise = np.random.default_rng(2).integers(0, 255, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(noise).convert("L" if mode == "I;16" else "RGB")
    image.convert(mode).save(file, form, **options)
    return file.getvalue()


def large_picture(side: int = 8000) -> bytes:
    """Return a PNG of 16-bit RGBA that is 64 megapixels, and few bytes of noise in each row."""
    noise = np.random.default_rng(3).bytes(64 * side)
    row = b"\0" + b"\x80\x10" * 4 * side
    packer = zlib.compressobj(1)
    packed = [packer.compress(row[:1] + noise[64 * y : 64 * y + 64] + row[65:]) for y in range(side)]

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0))
    data = chunk(b"IDAT", b"".join([*packed, packer.flush()]))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def faceless_video(seconds: int = 12) -> bytes:
    """Return noise in squares, 1280 x 720, that moves: hard work for a face detector."""
    noise = np.random.default_rng(4).integers(0, 256, (90, 160 + 25 * seconds, 3), np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as muxer:
        stream = muxer.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height = 1280, 720
        for index in range(25 * seconds):
            shown = np.repeat(np.repeat(noise[:, index : index + 160], 8, 0), 8, 1)
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def compressed_header(megabytes: int) -> bytes:
    """Return a QuickTime file whose compressed header claims, and unpacks to, so many megabytes of zeros."""
    packed = zlib.compress(bytes(megabytes << 20), 9)

    def atom(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    compressed = atom(b"dcom", b"zlib") + atom(b"cmvd", struct.pack(">I", megabytes << 20) + packed)
    return atom(b"ftyp", b"qt  \0\0\0\0qt  ") + atom(b"moov", atom(b"cmov", compressed))


def unknown_codec(kind: str) -> bytes:
    """Return an MP4 or WAV file whose stream names a codec that does not exist."""
    if kind == "video":
        return encoded_video().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC")
    data = bytearray(many_channels(1))
    data[20:22] = struct.pack("<H", 0x7A7A)
    return bytes(data)


def mutations(data: bytes, seed: int) -> Iterator[bytes]:
    """Yield copies that are truncated, or in which some bytes, mostly of the header, are changed."""
    random = np.random.default_rng(seed)
    for index in range(MUTATIONS):
        damaged = bytearray(data)
        if index % 3 == 0:
            yield bytes(damaged[: random.integers(len(data) // 10, len(data))])
            continue
        reach = min(len(data), 400) if index % 3 == 1 else len(data)
        for at in random.integers(0, reach, random.integers(1, 12)):
            damaged[at] = random.choice([0, 0xFF, 0x7F, 0x80, random.integers(256)])
        yield bytes(damaged)


def damaged(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the mutations of some files, by a name that tells which it is."""
    return {
        f"{name}, {index}": mutation
        for seed, (name, data) in enumerate(files.items())
        for index, mutation in enumerate(mutations(data, seed))
    }


def valid_recordings() -> dict[str, bytes]:
    """Return intact recordings of many forms by name."""
    return {
        "wav": many_channels(2, seconds=0.2),
        "flac": encoded_sound("flac", "flac", "stereo"),
        "aac": encoded_sound("aac", "adts", "stereo"),
        "mp4": encoded_sound("aac", "mp4", "stereo"),
        "mp3": encoded_sound("libmp3lame", "mp3", "stereo"),
        "ogg": encoded_sound("libopus", "ogg", "stereo"),
        "opus 16": encoded_sound("libopus", "matroska", "hexadecagonal", 16, mapping_family="255"),
        "wavpack 24": encoded_sound("wavpack", "wv", "22.2", 24),
    }


def recordings() -> dict[str, bytes]:
    """Return hostile recordings by name."""
    return damaged(valid_recordings()) | {
        "no decoder": unknown_codec("audio"),
        "65535 channels": _with_channels(65_535),
    }


def valid_videos() -> dict[str, bytes]:
    """Return intact videos of many forms by name."""
    return {
        "mp4": encoded_video(),
        "matroska": encoded_video(container="matroska"),
        "ts": encoded_video(container="mpegts"),
        "avi": encoded_video("mpeg4", "avi"),
        "mjpeg": encoded_video("mjpeg", "avi", "yuvj420p"),
        "ffv1": encoded_video("ffv1", "matroska"),
        "gif": encoded_video("gif", "gif", "rgb8"),
    }


def videos() -> dict[str, bytes]:
    """Return hostile videos by name."""
    return damaged(valid_videos()) | {"no decoder": unknown_codec("video"), "compressed header": compressed_header(512)}


def valid_pictures() -> dict[str, bytes]:
    """Return intact pictures of many forms by name."""
    return {
        "png": encoded_picture("PNG"),
        "palette": encoded_picture("PNG", "P"),
        "grey 16": encoded_picture("PNG", "I;16"),
        "jpeg": encoded_picture("JPEG"),
        "progressive": encoded_picture("JPEG", "CMYK", progressive=True),
        "webp": encoded_picture("WEBP"),
        "lossless": encoded_picture("WEBP", lossless=True),
        "bmp": encoded_picture("BMP"),
        "gif": encoded_picture("GIF", "P"),
        "tiff": encoded_picture("TIFF", compression="tiff_lzw"),
        "tiff jpeg": encoded_picture("TIFF", compression="jpeg"),
    }


def pictures() -> dict[str, bytes]:
    """Return hostile pictures by name."""
    return damaged(valid_pictures()) | {"thin": encoded_picture("PNG", "L", (64, 9_000))}


def _with_channels(channels: int) -> bytes:
    data = bytearray(many_channels(1))
    data[22:24] = struct.pack("<H", channels)
    data[32:34] = struct.pack("<H", 2 * channels % 65_536)
    return bytes(data)

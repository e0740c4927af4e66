"""Opening of uploaded media files."""

import io
import struct

import av

from sadtalker_runtime.errors import InputError

MAX_HEADER = 16  # MB, unpacked, of a QuickTime file with a compressed header; FFmpeg would unpack any size
_WANTED = {"audio": ("a recording", "an audio stream"), "video": ("a video", "a video stream")}


def opened(name: str, data: bytes, kind: str) -> av.container.InputContainer:
    """Open `data` with FFmpeg, as a context manager; it has at least one stream of the `kind`, audio or video.

    `name` is the input's name in messages.

    Raises:
        InputError: nothing FFmpeg can read, without such a stream, or without a decoder for it.
    """
    what, wanted = _WANTED[kind]
    if (header := _compressed_header(data)) > MAX_HEADER << 20:
        raise InputError(f"{name}: expected a header of at most {MAX_HEADER} MB, got one of {header >> 20} MB")
    # A playlist among the bytes must not make FFmpeg open a file or an address: no protocol is allowed.
    try:
        container = av.open(io.BytesIO(data), options={"protocol_whitelist": "none"})
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{name}: expected {what} that FFmpeg can read, got {len(data)} bytes of something else"
        ) from error
    streams = getattr(container.streams, kind)
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        container.close()
        raise InputError(f"{name}: expected a file with {wanted}, got one with {' and '.join(kinds) or 'none'}")
    if streams[0].codec_context is None:
        container.close()
        raise InputError(f"{name}: expected a stream with a known codec, got one without a decoder")
    return container


def _compressed_header(data: bytes) -> int:
    """Return how large the compressed header of a QuickTime file says it is, in bytes; 0 where there is none."""
    offset = 0
    while len(data) - offset >= 8:
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"moov" and data[offset + 12 : offset + 16] == b"cmov":
            inside = data.find(b"cmvd", offset, offset + length)
            return int.from_bytes(data[inside + 4 : inside + 8], "big") if inside >= 0 else 0
        if length == 1 and len(data) - offset >= 16:
            [length] = struct.unpack_from(">Q", data, offset + 8)
        if length < 8:
            break
        offset += length
    return 0

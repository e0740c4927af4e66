"""Opens what a caller uploaded."""

import io

import av

from sadtalker_runtime.errors import InputError

_WANTED = {"audio": ("a recording", "an audio stream"), "video": ("a video", "a video stream")}


def opened(name: str, data: bytes, kind: str) -> av.container.InputContainer:
    """`data` with FFmpeg, as a context manager; it has at least one stream of the `kind`, audio or video.

    `name` is what messages call it.

    Raises:
        InputError: nothing FFmpeg can read, or without such a stream.
    """
    what, stream = _WANTED[kind]
    # A playlist among the bytes must not make FFmpeg open a file or an address: no protocol is allowed.
    try:
        container = av.open(io.BytesIO(data), options={"protocol_whitelist": "none"})
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            f"{name}: expected {what} that FFmpeg can read, got {len(data)} bytes of something else"
        ) from error
    if not getattr(container.streams, kind):
        kinds = sorted({stream.type for stream in container.streams})
        container.close()
        raise InputError(f"{name}: expected a file with {stream}, got one with {' and '.join(kinds) or 'none'}")
    return container

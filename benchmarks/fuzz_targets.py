"""Fuzz targets: the functions that read callers' input, each with its corpus of valid files."""

import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import fields

import hostile
import numpy as np
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media import audio, video
from sadtalker_runtime.option_table import OPTIONS
from sadtalker_runtime.options import Options
from sadtalker_runtime.portrait import picture

SECONDS = 60.0  # of a recording or video at most
MOST_PICTURES = 100
CHOICES = [*OPTIONS["crop"].choices, *OPTIONS["enhance"].choices, "", "x" * 500]


def read_picture(data: bytes) -> None:
    """Decode a picture."""
    pixels = picture.decode(data)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3


def read_recording(data: bytes) -> None:
    """Decode a recording for the networks and for the video's sound."""
    recording = audio.decode(data, SECONDS)
    assert np.abs(recording.waveform).max(initial=0) <= 1
    with closing(audio.track_blocks(data, recording.sound.channels)) as blocks:
        for block in blocks:
            assert len(block) == recording.sound.channels and np.isfinite(block).all()


def read_video(data: bytes) -> None:
    """Inspect a video and decode some of its pictures."""
    found = video.inspect("driving", data, SECONDS)
    with closing(found.pictures()) as pictures:
        for _, shown in zip(range(MOST_PICTURES), pictures, strict=False):
            assert shown.dtype == np.uint8


def read_options(data: bytes) -> None:
    """Make options of bytes: which are given, then their values."""
    given, values = data[:4], data[4:].ljust(480, b"\0")
    chosen = int.from_bytes(given.ljust(4, b"\0"), "little")
    arguments: dict[str, object] = {}
    for index, field in enumerate(fields(Options)):
        if chosen >> index & 1:
            arguments[field.name] = _value(field.name, values[16 * index : 16 * index + 16])
    Options(**arguments).check_length(10)  # type: ignore[arg-type]


def _value(name: str, data: bytes) -> object:
    if name in ("crop", "enhance", "background"):
        return CHOICES[data[0] % len(CHOICES)]
    if name in ("still", "blink", "preview", "poster"):
        return bool(data[0] & 1)
    if name in ("blink_reference", "pose_reference", "driving"):
        return data
    if name in ("pose_style", "seed", "face_index", "size"):
        return struct.unpack("<q", data[:8])[0]
    numbers = np.frombuffer(data, np.float32)
    if name in ("yaw", "pitch", "roll"):
        return numbers[: 2 * (data[0] % 3)].reshape(-1, 2)
    return numbers[: data[0] % 5] if name == "blink_times" else float(numbers[0])


TARGETS: dict[str, Callable[[bytes], None]] = {
    "picture": read_picture,
    "recording": read_recording,
    "video": read_video,
    "options": read_options,
}


def corpus(target: str) -> list[bytes]:
    """Return the corpus of a target: valid files."""
    if target == "options":
        return [bytes([1 << index % 8 if index // 8 == byte else 0 for byte in range(3)]) for index in range(23)]
    valid = {"picture": hostile.valid_pictures, "recording": hostile.valid_recordings, "video": hostile.valid_videos}
    return list(valid[target]().values())


def survives(target: str, data: bytes) -> bool:
    """Run a target; return whether the input was read, as opposed to refused. Any other error is a finding."""
    try:
        TARGETS[target](data)
    except InputError as error:
        message = str(error)
        assert "expected" in message and message.isprintable() and len(message) < 300, message
        return False
    return True

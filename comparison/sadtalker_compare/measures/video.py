"""Reads a video: frames and the loudness of its speech."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.audio import decode
from sadtalker_runtime.timing import SPEECH_RATE

from sadtalker_compare.errors import ComparisonError

Frame = npt.NDArray[np.uint8]
Curve = npt.NDArray[np.float64]
RATE = SPEECH_RATE  # Hz, of the speech
LONGEST = 120.0  # seconds of a clip that are measured
LONGEST_RECORDING = 3600.0  # seconds


@dataclass(frozen=True)
class Video:
    """A video in memory."""

    frames: list[Frame]
    """RGB, uint8 [height, width, 3]."""
    rate: float
    """Frames per second."""


def read_video(path: Path) -> Video:
    """Decode a video's frames, of the first two minutes.

    Raises:
        ComparisonError: not a video, or without a frame.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ComparisonError(f"{path}: expected a video, got a file without a video stream")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            if rate <= 0:
                raise ComparisonError(f"{path}: expected a video with a frame rate, got one without")
            frames = [frame.to_ndarray(format="rgb24") for frame in _first(container.decode(stream), LONGEST * rate)]
    except (av.error.FFmpegError, OSError) as error:
        raise ComparisonError(f"{path}: expected a video, got {error}") from error
    if len(frames) < 2:
        raise ComparisonError(f"{path}: expected a video of 2 frames or more, got {len(frames)}")
    return Video(frames, rate)


def _first(frames: Iterator[Any], count: float) -> Iterator[Any]:
    for number, frame in enumerate(frames):
        if number >= count:
            return
        yield frame


def read_speech(path: Path) -> Curve:
    """Decode a recording as the server does, to a mono waveform of `RATE`, in [-1, 1]; return its first two minutes.

    Raises:
        ComparisonError: not a recording, or one of more than an hour.
    """
    try:
        waveform: Curve = decode(path.read_bytes(), LONGEST_RECORDING).waveform.astype(np.float64)
    except (InputError, OSError) as error:
        raise ComparisonError(f"{path}: {error}") from error
    return waveform[: round(LONGEST * RATE)]


def loudness(waveform: Curve, rate: float, frames: int) -> Curve:
    """Return the loudness of every video frame, smoothed over three: root mean square [frames]."""
    edges = np.round(np.arange(frames + 1) * RATE / rate).astype(int)
    padded = np.pad(np.square(waveform), (0, max(0, edges[-1] - len(waveform))))
    total = np.concatenate([[0.0], np.cumsum(padded)])
    level = np.sqrt(np.maximum(total[edges[1:]] - total[edges[:-1]], 0) / np.diff(edges))
    smoothed: Curve = np.convolve(level, (0.25, 0.5, 0.25), "same")
    return smoothed

"""Reads a video: frames and the loudness of its speech."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import numpy.typing as npt

from sadtalker_compare.errors import ComparisonError

Frame = npt.NDArray[np.uint8]
Curve = npt.NDArray[np.float64]
RATE = 16_000  # Hz, of the speech
LONGEST = 120.0  # seconds of a clip that are measured


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
    """Decode a recording to a mono waveform of `RATE`, in [-1, 1], of the first two minutes.

    Raises:
        ComparisonError: not a recording.
    """
    blocks = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ComparisonError(f"{path}: expected a recording, got a file without an audio stream")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in container.decode(audio=0):
                blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
                if sum(map(len, blocks)) > LONGEST * RATE:
                    break
            else:
                blocks += [block.to_ndarray()[0] for block in resampler.resample(None)]
    except (av.error.FFmpegError, OSError) as error:
        raise ComparisonError(f"{path}: expected a recording, got {error}") from error
    if not sum(map(len, blocks)):
        raise ComparisonError(f"{path}: expected a recording, got one without a sample")
    waveform: Curve = np.concatenate(blocks).astype(np.float64) / 32768
    return waveform


def loudness(waveform: Curve, rate: float, frames: int) -> Curve:
    """Return the loudness of every video frame, smoothed over three: root mean square [frames]."""
    edges = np.round(np.arange(frames + 1) * RATE / rate).astype(int)
    padded = np.pad(np.square(waveform), (0, max(0, edges[-1] - len(waveform))))
    total = np.concatenate([[0.0], np.cumsum(padded)])
    level = np.sqrt(np.maximum(total[edges[1:]] - total[edges[:-1]], 0) / np.diff(edges))
    smoothed: Curve = np.convolve(level, (0.25, 0.5, 0.25), "same")
    return smoothed

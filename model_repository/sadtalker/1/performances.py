"""What moves a portrait through a video, frame by frame: its speech."""

from collections.abc import Awaitable, Callable

import numpy as np

from .audio import Recording
from .blinks import blink_curve, blink_curve_at_rate, blink_curve_at_times
from .options import Options

Call = Callable[..., Awaitable[list[np.ndarray]]]
"""Runs a model of the server: `call(model, inputs by name, *output names)` gives those outputs."""


class Speech:
    """A recording that the portrait speaks, with head motion and blinks drawn by the seed."""

    def __init__(self, call: Call, recording: Recording, options: Options) -> None:
        self._call = call
        self._options = options
        self._waveform = recording.waveform
        self._blinks = blinks(options, recording.frames)
        self.sound = recording
        self.frames = recording.frames

    async def coefficients(self, source: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Coefficients of frames [start, stop) for a portrait with `source` [70]: float32 [stop - start, 70]."""
        inputs = {
            "waveform": self._waveform,
            "source_coefficients": source,
            "pose_style": np.array([self._options.pose_style], np.int32),
            "seed": np.array([self._options.seed], np.int64),
            "blink": self._blinks[start:stop],
            "frames": np.array([start, stop], np.int32),
        }
        [values] = await self._call("audio2coeff", inputs, "coefficients")
        return values


def blinks(options: Options, frames: int) -> np.ndarray:
    """How far the eyes are closed in every frame: float32 [frames], in [0, 1]."""
    if not options.blink:
        return np.zeros(frames, np.float32)
    if options.blink_times is not None:
        return blink_curve_at_times(frames, options.blink_times)
    if options.blink_rate is not None:
        return blink_curve_at_rate(frames, options.blink_rate, options.seed)
    return blink_curve(frames, options.seed)

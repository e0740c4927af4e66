"""One portrait with a session's options: its motion when it speaks, and its pictures."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sadtalker_runtime.animation.calls import Call
from sadtalker_runtime.animation.head_angles import NO_ANGLE
from sadtalker_runtime.animation.performances import Speech, blinks, silent
from sadtalker_runtime.animation.portraits import Portrait
from sadtalker_runtime.animation.windows import CHUNK, chunk_count, chunk_windows, placed, styled
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.media.audio import SILENCE
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.options import Options
from sadtalker_runtime.timing import SAMPLES_PER_FRAME

LONGEST_BLINK_GAP = 80  # frames; beyond it a curve of blinks no longer depends on where it ends
WEIGHT = 0.2  # of the latest in the mean duration of a chunk


class NoDecoders(Decoders):
    """Sessions decode nothing: their speech comes as samples."""

    def __init__(self) -> None: ...

    def close(self) -> None: ...


class Face:
    """A portrait whose coefficients and pictures come from the server's other models.

    Args:
        call: runs the other models.
        portrait: encoded.
        options: those of a video.
        clock: seconds.
    """

    render_seconds = 0.1
    """Recent mean time of rendering a chunk, over all faces; an estimate at first."""

    def __init__(
        self, call: Call, portrait: Portrait, options: Options, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.portrait = portrait
        self._call = call
        self._options = options
        self._clock = clock

    async def speak(self, number: int, waveform: Array, first: int, start: int, stop: int, whole: bool) -> Array:
        """Return the coefficients of frames [start, stop) of utterance `number`: float32 [stop - start, 70].

        Args:
            waveform: float32 [samples], 16 kHz, from the speech of frame `first` on as far as it is known.
            whole: whether it goes on to the utterance's end.
        """
        options = replace(self._options, seed=self._options.seed + number)
        frames = first + len(waveform) // SAMPLES_PER_FRAME
        inputs = {
            "waveform": waveform,
            "source_coefficients": self.portrait.coefficients,
            "pose_style": np.array([options.pose_style], np.int32),
            "seed": np.array([options.seed], np.int64),
            "blink": blinks(options, frames if whole else frames + LONGEST_BLINK_GAP)[start:stop],
            "frames": np.array([start - first, stop - first], np.int32),
        }
        [values] = await self._call(options.speech_model, inputs, "coefficients")
        return self._styled(values)

    async def silence(self, frames: int) -> Array:
        """Return coefficients of a loop in which nothing is said: float32 [frames, 70]; of one frame, those at rest."""
        source = self.portrait.coefficients
        if frames == 1:
            return self._styled((await silent(self._call, source, self._options.speech_model))[None])
        waveform = np.zeros(frames * SAMPLES_PER_FRAME, np.float32)
        loop = Speech(self._call, waveform, SILENCE, self._options, loops=True)
        return self._styled(await loop.coefficients(source, 0, frames))

    async def render(self, windows: Array, frames: int) -> Array:
        """Render the first `frames` (up to 5) of a chunk: uint8 [frames, side, side, 3]."""
        begun = self._clock()
        motion = {
            "coefficient_windows": placed(windows, self.portrait.placement)[None],
            "head_angles": np.full((1, CHUNK, 3), NO_ANGLE, np.float32),
        }
        if self._options.enhance != "none":
            motion |= self.portrait.enhancer_inputs
        [pictures] = await self._call(self._options.renderer, {**self.portrait.renderer_inputs, **motion}, "frames")
        Face.render_seconds += WEIGHT * (self._clock() - begun - Face.render_seconds)
        rendered: Array = pictures[0, :frames]
        return rendered

    def _styled(self, values: Array) -> Array:
        options = self._options
        head_motion_scale = 0.0 if options.still else options.head_motion_scale
        return styled(values, self.portrait.coefficients, options.expression_scale, head_motion_scale)


class Rest:
    """Motion of a face while nothing is said: a loop that is rendered once, or one frame that stays.

    It begins, and can be left and entered, at rest. Until the whole loop is rendered, its first frame stays.

    Args:
        rows: float32 [frames, 70], coefficients.
    """

    def __init__(self, rows: Array) -> None:
        self.rows = rows
        self._pictures: list[Array] = []

    @property
    def complete(self) -> bool:
        """Whether every frame is there."""
        return len(self._pictures) == len(self.rows)

    def picture(self, at: int) -> Array:
        """Return the picture of one frame: uint8 [side, side, 3]."""
        return self._pictures[self._index(at)]

    def following(self, at: int, count: int) -> Array:
        """Return the coefficients of `count` frames from one on: float32 [count, 70]."""
        rows: Array = self.rows[[self._index(at + ahead) for ahead in range(count)]]
        return rows

    async def render(self, face: Face, chunks: range) -> None:
        """Render some chunks of the loop, in order."""
        for chunk in chunks:
            frames = min(len(self.rows) - chunk * CHUNK, CHUNK)
            windows = chunk_windows(self.rows, chunk, len(self.rows), loops=True)
            self._pictures.extend(await face.render(windows, frames))

    def _index(self, at: int) -> int:
        return at % len(self.rows) if self.complete else 0


async def rest_of(face: Face, frames: int) -> Rest:
    """Return the idle loop of a face, `frames` long, of which the first frame can be shown."""
    rest = Rest(await face.silence(frames))
    await rest.render(face, range(1))
    return rest


def remaining(rest: Rest) -> range:
    """Return the chunks of a loop that `rest_of` leaves to be rendered."""
    return range(1, chunk_count(len(rest.rows)))

"""Sources of a portrait's motion through a video, frame by frame: its speech, another face, or nothing but time."""

from contextlib import ExitStack, closing
from typing import Protocol

import numpy as np

from sadtalker_runtime.animation.calls import Call
from sadtalker_runtime.animation.driving import DrivingFace
from sadtalker_runtime.animation.windows import EXPRESSION_SIZE, SIZE
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.audio import SILENCE, Sound
from sadtalker_runtime.media.decoders import DecodedVideo, Decoders
from sadtalker_runtime.options import MIN_IDLE, Options
from sadtalker_runtime.speech.blinks import blink_curve, blink_curve_at_rate, blink_curve_at_times
from sadtalker_runtime.timing import FRAME_RATE, SAMPLES_PER_FRAME

SETTLING = 25  # frames in which a loop leaves the portrait's pose, and in which it returns to it
MOUTH_SETTLING = 5  # frames, at most: a longer easing would keep the mouth from speaking


class Performance(Protocol):
    """The motion and sound of one video."""

    frames: int
    loops: bool
    """Whether the last frame is followed by the first."""
    sound: Sound

    async def coefficients(self, source: Array, start: int, stop: int) -> Array:
        """Return coefficients of frames [start, stop) for a portrait with `source` [70]: float32 [stop - start, 70].

        Raises InputError when a video that is read turns out to show no face.
        """

    async def close(self) -> None:
        """Release decoders."""


def prepare(call: Call, decoders: Decoders, audio: bytes | None, options: Options, max_seconds: float) -> Performance:
    """Decode what is needed beforehand: speech as a whole, videos only to learn their length.

    Raises:
        InputError: a recording or video cannot be used, is longer than `max_seconds`, or none is there.
    """
    performance = _prepare(call, decoders, audio, options, max_seconds)
    if performance.loops or options.settle == 0:
        return performance
    return Settled(call, performance, options.settle * FRAME_RATE, options.speech_model)


def _prepare(call: Call, decoders: Decoders, audio: bytes | None, options: Options, max_seconds: float) -> Performance:
    if options.coefficients is not None:
        frames = len(options.coefficients)
        if not 1 <= frames <= max_seconds * FRAME_RATE:
            raise InputError(f"coefficients: expected 1 to {max_seconds * FRAME_RATE:g} frames, got {frames}")
        return Given(options.coefficients, SILENCE if audio is None else decoders.speech(audio, max_seconds).sound)
    idle = options.idle
    if idle is not None:
        if audio is not None:
            raise InputError(
                f"idle: expected without audio, which says itself how long it is, got {idle:g} s and audio"
            )
        if idle > max_seconds:
            raise InputError(f"idle: expected at most {max_seconds:g} seconds, got {idle:g}")
    elif audio is None and options.driving is None:
        idle = MIN_IDLE
        if not options.poster:
            raise InputError("audio: expected a recording, or driving or idle instead, got none of them")
    recording = None if audio is None else decoders.speech(audio, max_seconds)
    if options.driving is not None:
        video = decoders.video("driving", options.driving, max_seconds)
        return Driven(call, video, recording.sound if recording else video.sound or SILENCE)
    with ExitStack() as opened:
        pose, eyes = (
            opened.enter_context(closing(decoders.video(name, data, max_seconds)))
            if (data := getattr(options, name)) is not None
            else None
            for name in ("pose_reference", "blink_reference")
        )
        opened.pop_all()  # the performance closes them from here on
    if recording is None:
        silence = np.zeros(round((idle or MIN_IDLE) * FRAME_RATE) * SAMPLES_PER_FRAME, np.float32)
        return Speech(call, silence, SILENCE, options, pose, eyes, loops=True)
    return Speech(call, recording.waveform, recording.sound, options, pose, eyes)


class Given:
    """Motion that the caller prescribes, frame by frame.

    Args:
        values: float32 [frames, 70], coefficients.
    """

    loops = False

    def __init__(self, values: Array, sound: Sound) -> None:
        self._values = values
        self.frames = len(values)
        self.sound = sound

    async def coefficients(self, source: Array, start: int, stop: int) -> Array:
        values: Array = self._values[start:stop]
        return values

    async def close(self) -> None: ...


class Driven:
    """Motion of the face in a driving video."""

    loops = False

    def __init__(self, call: Call, video: DecodedVideo, sound: Sound) -> None:
        self._face = DrivingFace(call, video)
        self.frames = video.frames
        self.sound = sound

    async def coefficients(self, source: Array, start: int, stop: int) -> Array:
        return await self._face.coefficients(start, stop)

    async def close(self) -> None:
        await self._face.close()


class Speech:
    """Motion of a face that speaks a recording or, in a loop, is silent; the seed draws head motion and blinks.

    Args:
        waveform: float32 [samples], 16 kHz.
        pose: a video whose face moves the head instead, from the portrait's pose on.
        eyes: a video whose face lends its expression, eyes included.
    """

    def __init__(
        self,
        call: Call,
        waveform: Array,
        sound: Sound,
        options: Options,
        pose: DecodedVideo | None = None,
        eyes: DecodedVideo | None = None,
        loops: bool = False,
    ) -> None:
        self._call = call
        self._options = options
        self._waveform = waveform
        self.frames = len(waveform) // SAMPLES_PER_FRAME
        self.sound = sound
        self.loops = loops
        self._blinks = blinks(options, self.frames)
        self._pose = DrivingFace(call, pose) if pose else None
        self._eyes = DrivingFace(call, eyes) if eyes else None

    async def coefficients(self, source: Array, start: int, stop: int) -> Array:
        away = settled(start, stop, self.frames, SETTLING) if self.loops else np.float32(1)
        inputs = {
            "waveform": self._waveform,
            "source_coefficients": source,
            "pose_style": np.array([self._options.pose_style], np.int32),
            "seed": np.array([self._options.seed], np.int64),
            "blink": self._blinks[start:stop],
            "frames": np.array([start, stop], np.int32),
        }
        if self._eyes:
            expression = source[:EXPRESSION_SIZE]
            seen = (await self._eyes.coefficients(start, stop))[:, :EXPRESSION_SIZE]
            inputs["reference_expression"] = expression + away * (seen - expression)
        [values] = await self._call(self._options.speech_model, inputs, "coefficients")
        rest, pose = source[EXPRESSION_SIZE:], values[:, EXPRESSION_SIZE:]
        if self._pose:
            first = await self._pose.coefficients(0, 1)
            pose = rest + (await self._pose.coefficients(start, stop) - first)[:, EXPRESSION_SIZE:]
        if self.loops:
            pose = rest + away * (pose - rest)
        return np.concatenate([values[:, :EXPRESSION_SIZE], pose], axis=1)

    async def close(self) -> None:
        for face in (self._pose, self._eyes):
            if face:
                await face.close()


class Settled:
    """A performance that begins and ends at rest, with zero speed: the portrait's pose and the expression of silence.

    Args:
        settling: frames in which the head leaves its rest, and returns to it; the expression takes 5 of them at most.
    """

    loops = False

    def __init__(self, call: Call, performance: Performance, settling: float, speech_model: str) -> None:
        self._call = call
        self._speech_model = speech_model
        self._performance = performance
        self._settling = settling
        self.frames = performance.frames
        self.sound = performance.sound

    async def coefficients(self, source: Array, start: int, stop: int) -> Array:
        values = await self._performance.coefficients(source, start, stop)
        rest = await silent(self._call, source, self._speech_model)
        end = self.frames - 1
        pose = settled(start, stop, end, self._settling)
        mouth = settled(start, stop, end, min(self._settling, MOUTH_SETTLING))
        away = np.concatenate([mouth.repeat(EXPRESSION_SIZE, 1), pose.repeat(SIZE - EXPRESSION_SIZE, 1)], axis=1)
        settled_values: Array = rest + away * (values - rest)
        return settled_values

    async def close(self) -> None:
        await self._performance.close()


async def silent(call: Call, source: Array, speech_model: str) -> Array:
    """Return the coefficients of a portrait with `source` [70] that says nothing, eyes open, at rest: float32 [70]."""
    silence = Speech(
        call, np.zeros(SAMPLES_PER_FRAME, np.float32), SILENCE, Options(blink=False, speech_model=speech_model)
    )
    [values] = await silence.coefficients(source, 0, 1)
    return np.concatenate([values[:EXPRESSION_SIZE], source[EXPRESSION_SIZE:]])


def blinks(options: Options, frames: int) -> Array:
    """Return how far the eyes are closed in every frame: float32 [frames], in [0, 1]."""
    if not options.blink or options.blink_reference is not None:
        return np.zeros(frames, np.float32)
    if options.blink_times is not None:
        return blink_curve_at_times(frames, np.atleast_1d(options.blink_times))
    if options.blink_rate is not None:
        return blink_curve_at_rate(frames, options.blink_rate, options.seed)
    return blink_curve(frames, options.seed)


def settled(start: int, stop: int, end: int, settling: float) -> Array:
    """Return how far frames [start, stop) are from rest, which frames 0 and `end` are at: float32 [stop - start, 1].

    It is 0 at those two, 1 from `settling` frames away on, and smooth everywhere. In a loop, frame `end` is frame 0.
    """
    at = np.arange(start, stop)
    x = np.minimum(np.minimum(at, end - at) / max(min(settling, end / 2), 1), 1)
    away: Array = (x * x * (3 - 2 * x)).astype(np.float32)[:, None]
    return away

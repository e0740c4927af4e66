"""Decoding of a recording in any format: as a whole for the networks, and piece by piece for the video's sound."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass

import av
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError, excerpt
from sadtalker_runtime.media.containers import opened
from sadtalker_runtime.timing import FRAME_RATE, SAMPLES_PER_FRAME, SPEECH_RATE

TRACK_RATE = 48_000  # Hz, of the video's sound; AAC blocks are then half as long as a video frame
SAMPLE_RATES = range(4_000, 768_001)  # Hz, accepted; resampling from a forged 1 Hz would swell to any size
MAX_CHANNELS = 64
TRACK_BLOCK = TRACK_RATE // 4  # samples of a track's block at least, except for the last
LONGEST_DELAY = 10.0  # seconds between the beginnings of picture and sound; more is a broken time stamp


@dataclass(frozen=True)
class Sound:
    """A sound track, still encoded."""

    data: bytes | None
    """None is silence."""
    channels: int
    """2 for stereo, else 1."""
    delay: float = 0.0
    """Its beginning, seconds after the picture's; what comes before the picture is cut off."""


SILENCE = Sound(None, 1)


@dataclass(frozen=True)
class Recording:
    """Speech, decoded for the networks, and its sound."""

    waveform: Array
    """float32 [samples], 16 kHz, mean of the channels, in [-1, 1]."""
    sound: Sound

    @property
    def frames(self) -> int:
        """Number of 25-fps video frames that the speech fills, at least 1."""
        return len(self.waveform) // SAMPLES_PER_FRAME


def decode(data: bytes, max_seconds: float) -> Recording:
    """Decode the first audio stream in `data`.

    Raises:
        InputError: nothing FFmpeg can read, no audio stream, longer than `max_seconds` (found without decoding the
            rest), shorter than one video frame, or with samples that are not finite.
    """
    if not data:
        raise InputError("audio: expected a recording, got 0 bytes")
    parts, samples, channels = [], 0, 1
    for block in _blocks(data, SPEECH_RATE):
        channels = len(block)
        parts.append(block.mean(axis=0))
        samples += block.shape[1]
        if samples > max_seconds * SPEECH_RATE:
            raise InputError(f"audio: expected at most {max_seconds:g} seconds, got a longer recording")
    if samples < SAMPLES_PER_FRAME:
        raise InputError(
            f"audio: expected at least one video frame of sound ({1 / FRAME_RATE:g} s), got {samples / SPEECH_RATE:g} s"
        )
    waveform = np.concatenate(parts)
    if not np.isfinite(waveform).all():
        raise InputError("audio: expected finite samples, got NaN or infinity")
    return Recording(np.clip(waveform, -1, 1), Sound(data, 2 if channels == 2 else 1))


def sound_of(container: av.container.InputContainer, data: bytes, start: float) -> Sound | None:
    """Return the first audio stream of a video `data`, whose picture begins at time stamp `start`; None without one."""
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    delay = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base) - start
    plausible = 1 / FRAME_RATE < abs(delay) < LONGEST_DELAY  # less may be an encoder's lead-in, cut off anyway
    return Sound(data, 2 if stream.channels == 2 else 1, delay if plausible else 0.0)


class Track:
    """A sound that is decoded as it is read, so that little of it is in memory at a time.

    Args:
        sound: its number of channels and delay.
        blocks: gives its samples, see `track_blocks`; None is silence.
    """

    def __init__(self, sound: Sound, blocks: Generator[Array, None, None] | None) -> None:
        self._channels = sound.channels
        self._blocks = _no_blocks() if blocks is None else blocks
        delay = round(sound.delay * TRACK_RATE)
        self._ready = np.zeros((self._channels, max(delay, 0)), np.float32)
        self.read(max(-delay, 0))

    def read(self, samples: int) -> Array:
        """Return the next samples: float32 [channels, samples], 48 kHz, in [-1, 1]; silence after the end."""
        parts = [self._ready]
        missing = samples - self._ready.shape[1]
        while missing > 0 and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            missing -= block.shape[1]
        if missing > 0:
            parts.append(np.zeros((self._channels, missing), np.float32))
        known = np.concatenate(parts, axis=1)
        self._ready = known[:, samples:]
        return known[:, :samples]

    def close(self) -> None:
        """Release the decoder."""
        self._blocks.close()


def track_blocks(data: bytes, channels: int) -> Generator[Array, None, None]:
    """Yield the sound in `data` as float32 [channels, n], 48 kHz, in [-1, 1]; one channel is the mean of all."""
    parts: list[Array] = []
    for block in _blocks(data, TRACK_RATE):
        if channels == 1:
            block = block.mean(axis=0, keepdims=True)
        parts.append(np.clip(block, -1, 1))
        if sum(part.shape[1] for part in parts) >= TRACK_BLOCK:
            yield np.concatenate(parts, axis=1)
            parts = []
    if parts:
        yield np.concatenate(parts, axis=1)


def _blocks(data: bytes, rate: int) -> Generator[Array, None, None]:
    """Yield samples of the first audio stream as float32 [channels, n], n > 0, at `rate` Hz.

    As with FFmpeg's own tools, packets that do not decode are skipped.
    """
    with opened("audio", data, "audio") as container:
        stream = container.streams.audio[0]
        _check_form(stream.rate, stream.channels)
        resampler = av.AudioResampler(format="flt", rate=rate)
        try:
            for packet in container.demux(stream):
                for frame in _decoded(packet):
                    _check_form(frame.sample_rate, frame.layout.nb_channels)
                    frame.pts = None  # gaps between time stamps are not filled
                    yield from _planes(resampler.resample(frame))
            yield from _planes(resampler.resample(None))
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"audio: expected a readable recording, got one that breaks off ({excerpt(error)})"
            ) from error


def _planes(frames: Iterable[av.AudioFrame]) -> Generator[Array, None, None]:
    """Yield the samples of frames whose channels alternate, apart: PyAV reads planes beyond memory from 8 on."""
    for frame in frames:
        if frame.samples:
            yield frame.to_ndarray().reshape(frame.samples, -1).T


def _check_form(rate: int, channels: int) -> None:
    if rate not in SAMPLE_RATES:
        raise InputError(f"audio: expected a sample rate of {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz, got {rate} Hz")
    if not 1 <= channels <= MAX_CHANNELS:
        raise InputError(f"audio: expected 1 to {MAX_CHANNELS} channels, got {channels}")


def _no_blocks() -> Generator[Array, None, None]:
    yield from ()


def _decoded(packet: av.Packet) -> list[av.AudioFrame]:
    try:
        frames: list[av.AudioFrame] = packet.decode()
        return frames
    except av.InvalidDataError:
        return []

"""Speech that is still arriving: pieces of any length and rate become a growing waveform and its sound track."""

from bisect import bisect_left

import av
import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.audio import SAMPLE_RATES, TRACK_RATE
from sadtalker_runtime.timing import FRAME_RATE, SAMPLES_PER_FRAME, SPEECH_RATE

SOUND_PER_FRAME = TRACK_RATE // FRAME_RATE  # samples, 48 kHz
SHORTEST_PIECE = 0.01  # seconds


class Utterance:
    """The speech between two flushes.

    Args:
        number: of the utterance in its session, from 0 on.
        rate: samples per second of its pieces; all have the same.

    Raises:
        InputError: a rate that no recording has.
    """

    def __init__(self, number: int, rate: int) -> None:
        if rate not in SAMPLE_RATES:
            raise InputError(f"rate: expected {SAMPLE_RATES[0]} to {SAMPLE_RATES[-1]} Hz, got {rate}")
        self.number = number
        self.rate = rate
        self.complete = False
        self.expected = 0.0
        """When the next piece is due, if pieces come as fast as they are spoken."""
        self._resamplers = [_Resampler(rate, SPEECH_RATE), _Resampler(rate, TRACK_RATE)]
        self._waveform, self._sound = _Growing(np.float32), _Growing(np.int16)
        self._heard: list[int] = []  # 16 kHz samples that were there ...
        self._times: list[float] = []  # ... at these times

    @property
    def frames(self) -> int:
        """Video frames that the speech fills so far."""
        return len(self._waveform) // SAMPLES_PER_FRAME

    @property
    def waveform(self) -> Array:
        """float32 [samples], 16 kHz, in [-1, 1]."""
        return self._waveform.values

    def speak(self, samples: Array, rate: int, now: float) -> None:
        """Append a piece of speech: int16 or float32 [n], at least 10 ms.

        Raises:
            InputError: it is too short, not finite, or has another rate than the utterance.
        """
        if rate != self.rate:
            raise InputError(
                f"rate: expected {self.rate} Hz, as the utterance began, got {rate}; flush before a change"
            )
        if len(samples) < round(SHORTEST_PIECE * rate):
            raise InputError(f"speech: expected at least {SHORTEST_PIECE:g} s, got {len(samples) / rate:g} s")
        if samples.dtype == np.int16:
            samples = samples.astype(np.float32) / np.float32(32768)
        elif not np.isfinite(samples).all():
            raise InputError("speech: expected finite samples, got NaN or infinity")
        self._append([resampler.resample(samples) for resampler in self._resamplers], now)

    def flush(self, now: float) -> None:
        """Mark the utterance as complete."""
        if not self.complete:
            self.complete = True
            self._append([resampler.rest() for resampler in self._resamplers], now)

    def sound(self, start: int, stop: int) -> Array:
        """Return sound of frames [start, stop): int16 [stop - start, 1920], 48 kHz, silence where none is known."""
        known = self._sound.values[start * SOUND_PER_FRAME : stop * SOUND_PER_FRAME]
        return np.pad(known, (0, (stop - start) * SOUND_PER_FRAME - len(known))).reshape(-1, SOUND_PER_FRAME)

    def arrival(self, frame: int) -> float:
        """Return when the speech of a frame was complete."""
        index = bisect_left(self._heard, (frame + 1) * SAMPLES_PER_FRAME)
        return self._times[min(index, len(self._times) - 1)]

    def _append(self, resampled: list[Array], now: float) -> None:
        waveform, sound = (np.clip(samples, -1, 1) for samples in resampled)
        self._waveform.append(waveform)
        self._sound.append(np.round(sound * 32767).astype(np.int16))
        self._heard.append(len(self._waveform))
        self._times.append(now)
        self.expected = now + len(sound) / TRACK_RATE


class _Resampler:
    """A stream of mono samples at another rate."""

    def __init__(self, rate: int, to: int) -> None:
        self._rate = rate
        self._resampler = None if rate == to else av.AudioResampler(format="fltp", layout="mono", rate=to)

    def resample(self, samples: Array) -> Array:
        if self._resampler is None:
            return samples.astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = self._rate, None
        return self._joined(self._resampler.resample(frame))

    def rest(self) -> Array:
        """Return the samples that the filter still holds; no piece may follow."""
        return np.empty(0, np.float32) if self._resampler is None else self._joined(self._resampler.resample(None))

    @staticmethod
    def _joined(frames: list[av.AudioFrame]) -> Array:
        return np.concatenate([np.empty(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])


class _Growing:
    """An array that is appended to."""

    def __init__(self, dtype: type) -> None:
        self._room: Array = np.empty(SPEECH_RATE, dtype)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> Array:
        return self._room[: self._length]

    def append(self, values: Array) -> None:
        length = self._length + len(values)
        if length > len(self._room):
            room = np.empty(max(length, 2 * len(self._room)), self._room.dtype)
            room[: self._length] = self.values
            self._room = room
        self._room[self._length : length] = values
        self._length = length

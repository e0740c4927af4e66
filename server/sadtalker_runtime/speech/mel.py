"""Mel spectrogram of speech and the windows of it that each video frame sees.

The spectrogram is Wav2Lip's (Prajwal et al., 2020, https://github.com/Rudrabha/Wav2Lip), which SadTalker was
trained on: pre-emphasis, short-time Fourier magnitude, Slaney mel filters, decibels scaled to [-4, 4].
"""

from functools import cache

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.timing import FRAME_RATE, SAMPLES_PER_FRAME, SPEECH_RATE

FFT_SIZE = 800  # samples, 50 ms
HOP = 200  # samples, 12.5 ms
BANDS = 80
LOWEST, HIGHEST = 55.0, 7600.0  # Hz
PRE_EMPHASIS = 0.97

COLUMNS_PER_SECOND = SPEECH_RATE // HOP
WINDOW = 16  # columns a video frame sees, 0.2 s


def frame_count(samples: int) -> int:
    """Return how many video frames a recording of so many 16 kHz samples fills."""
    return samples // SAMPLES_PER_FRAME


def mel_spectrogram(waveform: Array, start: int = 0, stop: int | None = None) -> Array:
    """Return the columns [start, stop) of the mel spectrogram, all of them by default.

    Args:
        waveform: float32 [samples], 16 kHz, in [-1, 1]; only the part that the columns need is read.

    Returns:
        float32 [80, stop - start], in [-4, 4]; column c is centred on sample 200 c, silence lies around the recording.
    """
    if stop is None:
        stop = len(waveform) // HOP + 1
    first = start * HOP - FFT_SIZE // 2
    last = (stop - 1) * HOP + FFT_SIZE // 2
    known = waveform[max(first - 1, 0) : last].astype(np.float64)
    emphasised = known - PRE_EMPHASIS * np.concatenate([[0.0], known[:-1]])
    if first > 0:
        emphasised = emphasised[1:]  # its first sample was only there for its successor
    samples = np.zeros(last - first)
    offset = max(-first, 0)
    samples[offset : offset + len(emphasised)] = emphasised

    frames = np.lib.stride_tricks.sliding_window_view(samples, FFT_SIZE)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SIZE) / FFT_SIZE)
    magnitude = np.abs(np.fft.rfft(frames * hann, axis=1))
    decibels = 20 * np.log10(np.maximum(1e-5, magnitude @ _mel_filters().T)) - 20
    columns: Array = np.clip(8 * (decibels + 100) / 100 - 4, -4, 4).astype(np.float32).T
    return columns


def mel_windows(waveform: Array, start: int, stop: int) -> Array:
    """Return what video frames [start, stop) see of a recording.

    Args:
        waveform: float32 [samples], 16 kHz, in [-1, 1]; what does not fill a video frame is left out.

    Returns:
        float32 [stop - start, 80, 16]. Frame i sees 16 columns from floor(80 (i - 2) / 25), truncated towards zero;
        beyond the ends of the recording the outermost columns are repeated.
    """
    waveform = waveform[: frame_count(len(waveform)) * SAMPLES_PER_FRAME]
    columns = len(waveform) // HOP + 1
    firsts = np.trunc(COLUMNS_PER_SECOND * (np.arange(start, stop) - 2) / FRAME_RATE).astype(int)
    indices = np.clip(firsts[:, None] + np.arange(WINDOW), 0, columns - 1)
    low, high = indices[0, 0], indices[-1, -1] + 1
    windows: Array = mel_spectrogram(waveform, low, high).T[indices - low].transpose(0, 2, 1)
    return windows


@cache
def _mel_filters() -> Array:
    """Return Slaney's auditory filters (Auditory Toolbox, 1998), of equal area: [80, 401]."""
    edges = _to_hertz(np.linspace(_to_mel(LOWEST), _to_mel(HIGHEST), BANDS + 2))
    bins = np.fft.rfftfreq(FFT_SIZE, 1 / SPEECH_RATE)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    filters: Array = np.maximum(0, triangles) * 2 / (high - low)
    return filters


# Slaney's scale: linear up to 1 kHz at 200/3 Hz per mel, then logarithmic, 27 mels to a factor of 6.4.
_HERTZ_PER_MEL, _KNEE_HERTZ, _LOG_STEP = 200 / 3, 1000.0, np.log(6.4) / 27
_KNEE_MEL = _KNEE_HERTZ / _HERTZ_PER_MEL


def _to_mel(hertz: float) -> float:
    if hertz < _KNEE_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HERTZ) / _LOG_STEP)


def _to_hertz(mel: Array) -> Array:
    return np.where(mel < _KNEE_MEL, mel * _HERTZ_PER_MEL, _KNEE_HERTZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL)))

"""Synthetic speech with the timing of its phonemes, from the espeak-ng library."""

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.signal
from sadtalker_export.errors import UsageError

from ..coefficients import Floats

LIBRARY = "libespeak-ng.so.1"
SAMPLE_RATE = 16_000  # Hz, of the waveforms that `speak` returns
VOICES = ("en-us", "en", "de", "fr", "es", "it", "pt", "pl", "ru", "sv", "cmn", "nl")
VARIANTS = ("", "+f1", "+f2", "+f3", "+f4", "+m1", "+m3", "+m5", "+m7")
_SYNCHRONOUS, _PHONEME_EVENTS_IN_IPA, _UTF8, _PHONEME = 2, 3, 1, 7
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # parameters


@dataclass(frozen=True)
class Phoneme:
    """An IPA symbol and when it begins, in seconds; an empty one is silence."""

    start: float
    symbol: str


@dataclass(frozen=True)
class Utterance:
    waveform: Floats  # 16 kHz, in [-1, 1]
    phonemes: tuple[Phoneme, ...]


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_Callback: Any = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    """Return the library, ready to speak, and its sample rate."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise UsageError(f"speech needs the library {LIBRARY}: install espeak-ng (Debian: libespeak-ng1)") from error
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS_IN_IPA)
    if rate <= 0:
        raise UsageError("espeak-ng: expected its voices beside the library, found none")
    return library, int(rate)


def speak(
    text: str, voice: str = "en-us", words_per_minute: int = 170, pitch: int = 50, pitch_range: int = 50
) -> Utterance:
    """Synthesise a text.

    Args:
        voice: an espeak-ng voice and perhaps a variant, such as "de+f2".
        words_per_minute: 80 to 450.
        pitch, pitch_range: 0 to 100, 50 is usual.

    Raises:
        UsageError: espeak-ng or the voice is missing.
    """
    library, rate = _library()
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise UsageError(f"espeak-ng: expected to know the voice {voice!r}, but it does not")
    for parameter, value in ((_RATE, words_per_minute), (_VOLUME, 100), (_PITCH, pitch), (_RANGE, pitch_range)):
        library.espeak_SetParameter(parameter, value, 0)
    pieces: list[bytes] = []
    phonemes: list[Phoneme] = []

    def receive(samples: int | None, count: int, events: "ctypes._Pointer[_Event]") -> int:
        if samples and count:
            pieces.append(ctypes.string_at(samples, 2 * count))
        for i in range(1 << 16):
            if events[i].type == 0:
                break
            if events[i].type == _PHONEME:
                phonemes.append(Phoneme(events[i].milliseconds / 1000, events[i].name.decode("utf-8", "ignore")))
        return 0

    callback = _Callback(receive)  # must live as long as the synthesis
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    samples = np.frombuffer(b"".join(pieces), np.int16).astype(np.float32) / 32768
    waveform = scipy.signal.resample_poly(samples, SAMPLE_RATE, rate).astype(np.float32)
    return Utterance(np.clip(waveform, -1, 1), tuple(phonemes))


_ONSETS = (
    "p",
    "b",
    "m",
    "f",
    "v",
    "t",
    "d",
    "s",
    "z",
    "n",
    "l",
    "r",
    "k",
    "g",
    "h",
    "w",
    "y",
    "sh",
    "ch",
    "br",
    "st",
    "pl",
    "",
)
_VOWELS = ("a", "e", "i", "o", "u", "a", "ai", "ou", "ee", "oo")
_CODAS = ("", "", "", "n", "m", "p", "s", "l", "r", "t", "k", "f")


def random_text(rng: np.random.Generator) -> str:
    """Return a sentence of made-up words: every voice reads them in its own way, and no two texts are alike."""
    words = []
    for _ in range(int(rng.integers(4, 11))):
        syllables = (
            "".join(str(rng.choice(part)) for part in (_ONSETS, _VOWELS, _CODAS)) for _ in range(rng.integers(1, 4))
        )
        words.append("".join(syllables) + ("," if rng.random() < 0.15 else ""))
    return " ".join(words).rstrip(",") + "."


def random_utterance(rng: np.random.Generator) -> Utterance:
    """Speak made-up words in a random voice, loudness and room, with silence around them."""
    voice = str(rng.choice(VOICES)) + str(rng.choice(VARIANTS))
    spoken = speak(
        random_text(rng), voice, int(rng.integers(120, 220)), int(rng.integers(20, 80)), int(rng.integers(20, 80))
    )
    before, after = (int(SAMPLE_RATE * rng.uniform(0.1, 0.6)) for _ in range(2))
    waveform = np.pad(spoken.waveform, (before, after)) * np.float32(10 ** rng.uniform(-0.9, 0.1))
    waveform = waveform + rng.standard_normal(len(waveform), dtype=np.float32) * np.float32(10 ** rng.uniform(-5, -2.3))
    if rng.random() < 0.3:  # a small room
        tail = rng.standard_normal(1600) * np.exp(-np.arange(1600) / rng.uniform(100, 500)) * 0.1
        tail[0] = 1
        waveform = np.convolve(waveform, tail)[: len(waveform)].astype(np.float32)
    shift = before / SAMPLE_RATE
    phonemes = tuple(Phoneme(p.start + shift, p.symbol) for p in spoken.phonemes)
    return Utterance(np.clip(waveform, -1, 1).astype(np.float32), phonemes)

"""The mouth shape of every phoneme, and the motion from one to the next."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ..coefficients import JAW, ROUND, UPPER_LIP, WIDTH, Floats
from .utterance import SAMPLE_RATE, Utterance

FRAME_RATE = 25  # Hz
STEPS = 8  # per frame, at which the mouth's motion is computed
SPOKEN = (JAW, WIDTH, ROUND, UPPER_LIP)  # the blendshapes that `mouth_shapes` returns, in this order
COARTICULATION = 0.035  # seconds (one standard deviation) over which a mouth takes the next shape
CLOSING = 0.015  # the same for lips that meet
LEAD = 0.01  # seconds by which the mouth is ahead of the sound
CLOSED_LIPS = frozenset("pbm")

# Jaw, width, rounding, upper lip of the phonemes that begin with a symbol.
_SHAPES = {
    symbol: shape
    for symbols, shape in (
        ("aɑæɐʌ", (0.80, 0.10, 0.00, 0.15)),
        ("ɛeœø", (0.50, 0.35, 0.00, 0.15)),
        ("əɜɚɝɘɵ", (0.40, 0.05, 0.10, 0.10)),
        ("iɪyɨ", (0.25, 0.60, 0.00, 0.15)),
        ("oɔɒɤ", (0.50, -0.20, 0.70, 0.05)),
        ("uʊɯwʉ", (0.22, -0.30, 0.95, 0.05)),
        ("pbm", (0.00, 0.00, 0.00, 0.00)),
        ("fvɸβʋ", (0.10, 0.10, 0.00, 0.35)),
        ("θðtdnlszɾ", (0.18, 0.20, 0.00, 0.15)),
        ("ʃʒɕʑʂʐ", (0.15, -0.10, 0.50, 0.25)),
        ("kgŋxɡçɣqχʁhʔɲc", (0.25, 0.10, 0.00, 0.10)),
        ("rɹɻ", (0.22, -0.05, 0.30, 0.10)),
        ("jʎ", (0.20, 0.40, 0.00, 0.10)),
    )
    for symbol in symbols
}
_ROUNDED_FRONT = frozenset("yœøʏ")
_OTHER = (0.2, 0.1, 0.0, 0.1)
_REST = (0.0, 0.0, 0.0, 0.0)


def phoneme_shape(symbol: str) -> tuple[float, float, float, float]:
    """Return jaw, width, rounding and upper lip of an IPA symbol; the empty one is rest."""
    letters = [c for c in symbol if c.isalpha()]
    if not letters:
        return _REST
    jaw, width, rounding, upper = _SHAPES.get(letters[0], _OTHER)
    if letters[0] in _ROUNDED_FRONT:
        width, rounding = -0.2, 0.7
    return jaw, width, rounding, upper


def mouth_shapes(utterance: Utterance) -> Floats:
    """Return the blendshapes `SPOKEN` of every video frame of an utterance: [floor(samples / 640), 4].

    Targets change with the phonemes and are smoothed; louder speech opens the mouth wider; lips that must meet do.
    """
    frames = len(utterance.waveform) * FRAME_RATE // SAMPLE_RATE
    steps = frames * STEPS
    seconds = (np.arange(steps) + 0.5) / (FRAME_RATE * STEPS)
    targets, closed = np.zeros((steps, len(SPOKEN))), np.zeros(steps)
    for phoneme in utterance.phonemes:  # in the order of time: each holds until the next
        after = seconds >= phoneme.start - LEAD
        targets[after] = phoneme_shape(phoneme.symbol)
        closed[after] = phoneme.symbol[:1] in CLOSED_LIPS if phoneme.symbol else 0
    step = FRAME_RATE * STEPS
    targets = gaussian_filter1d(targets, COARTICULATION * step, axis=0)
    closed = gaussian_filter1d(closed, CLOSING * step)
    louder = loudness(utterance.waveform, steps)
    targets[:, SPOKEN.index(JAW)] *= 0.45 + 0.65 * gaussian_filter1d(louder, 0.03 * step)
    meeting = (1 - np.clip(closed * 1.3, 0, 1))[:, None]
    opened = [SPOKEN.index(JAW), SPOKEN.index(UPPER_LIP)]
    targets[:, opened] *= meeting
    centre = np.arange(frames) * STEPS + STEPS // 2
    shapes: Floats = np.clip(targets[centre], -1, 1.1).astype(np.float32)
    return shapes


def loudness(waveform: Floats, steps: int) -> Floats:
    """Return the level of every step of a waveform against its loudest parts, 0 to 1: 40 decibels of range."""
    length = len(waveform) // steps
    level = np.sqrt(np.square(waveform[: steps * length].reshape(steps, length)).mean(1) + 1e-12)
    decibels = 20 * np.log10(level / (np.percentile(level, 95) + 1e-6) + 1e-6)
    normal: Floats = np.clip(1 + decibels / 40, 0, 1).astype(np.float32)
    return normal

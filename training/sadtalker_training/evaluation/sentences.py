"""Figures of held-out speech: whether the mouth in the frames moves with it."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from sadtalker_runtime.speech.mel import mel_windows
from torch import nn

from ..coefficients import COEFFICIENTS, Floats, Pose
from ..faces.person import Person
from ..speech.utterance import Utterance, random_utterance
from ..speech.visemes import CLOSED_LIPS, FRAME_RATE
from .clips import ClipRenderer
from .measures import MotionMeter, Values, best_lag, correlation, envelope
from .people import FIRST_SEED

SHUT = 0.25  # of the 90th percentile of a sentence's opening: below that lips count as closed
SHORTEST = 0.06  # seconds of closed lips that a frame of video can show
SILENT = 0.03  # of a sentence's loudest level


def evaluate_sentences(
    networks: Mapping[str, nn.Module], sentences: int, advance: Callable[[], None]
) -> dict[str, float]:
    """Return the figures of so many held-out sentences, spoken by held-out faces; `advance` is called after each.

    Returns:
        speech_correlation: of the mouth's opening in the frames with the loudness of the speech, at zero lag.
        speech_lag: by how many frames the mouth is late, the worst sentence's.
        closed_lips: share of m, b and p on whose middle frame, or beside it, the mouth is shut.
        silence_opening: in silence, against the 90th percentile of speech.
    """
    curves, lags, closed, silent = [], [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + sentences):
        rng = np.random.default_rng(seed)
        utterance = random_utterance(rng)
        opening = mouth_opening(networks, Person(seed), utterance)
        level = envelope(utterance.waveform, len(opening))
        curves.append(correlation(opening, level))
        lags.append(best_lag(opening, level))
        wide = max(float(np.percentile(opening, 90)), 1e-6)
        closed += closures(opening / wide, utterance)
        quiet = level < SILENT * level.max()
        if quiet.any():
            silent.append(float(opening[quiet].mean() / wide))
        advance()
    return {
        "speech_correlation": float(np.mean(curves)),
        "speech_lag": float(max(lags, key=abs)),
        "closed_lips": float(np.mean(closed)) if closed else 0.0,
        "silence_opening": float(np.mean(silent)) if silent else 0.0,
    }


def mouth_opening(networks: Mapping[str, nn.Module], person: Person, utterance: Utterance) -> Values:
    """Return the mouth's opening in pixels in every frame of a sentence, the head held still."""
    frames = len(utterance.waveform) * FRAME_RATE // 16_000
    coefficients = speech_coefficients(networks, utterance, frames)
    portrait = person.view(np.zeros(7, np.float32), Pose()).picture
    renderer = ClipRenderer(networks, portrait)
    meter = MotionMeter(portrait, renderer.keypoints)
    return np.array([meter.opening(frame) for frame in renderer.frames(coefficients)])


def speech_coefficients(networks: Mapping[str, nn.Module], utterance: Utterance, frames: int) -> Floats:
    """Return the coefficients [frames, 70] of a sentence: expression from audio2exp, no blinks, no head motion."""
    windows = mel_windows(utterance.waveform, 0, frames)
    with torch.no_grad():
        expression = networks["audio2exp"](
            torch.from_numpy(windows), torch.zeros(frames, 64), torch.zeros(frames, 1)
        ).numpy()
    coefficients = np.zeros((frames, COEFFICIENTS), np.float32)
    coefficients[:, : expression.shape[1]] = expression
    return coefficients


def closures(opening: Values, utterance: Utterance) -> list[bool]:
    """Return whether the mouth (`opening` in shares of its widest) was shut on each m, b and p long enough to see."""
    shut = []
    for phoneme, after in zip(utterance.phonemes, utterance.phonemes[1:], strict=False):
        if phoneme.symbol[:1] not in CLOSED_LIPS or not phoneme.symbol or after.start - phoneme.start < SHORTEST:
            continue
        middle = int((phoneme.start + after.start) / 2 * FRAME_RATE)
        shut.append(bool(opening[max(0, middle - 1) : middle + 2].min() < SHUT))
    return shut

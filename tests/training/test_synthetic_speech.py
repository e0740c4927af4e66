"""Speech for training: espeak-ng's phonemes, and the mouth that goes with them."""

import numpy as np
import pytest
from sadtalker_export.errors import UsageError
from sadtalker_training.speech.utterance import SAMPLE_RATE, Phoneme, Utterance, random_text
from sadtalker_training.speech.visemes import CLOSED_LIPS, SPOKEN, mouth_shapes, phoneme_shape


def tone(seconds: float, *phonemes: Phoneme) -> Utterance:
    samples = int(seconds * SAMPLE_RATE)
    return Utterance((0.3 * np.sin(np.arange(samples) * 0.2)).astype(np.float32), phonemes)


def test_silence_shuts_the_mouth() -> None:
    quiet = Utterance(np.zeros(SAMPLE_RATE, np.float32), ())
    assert mouth_shapes(quiet).shape == (25, len(SPOKEN))
    assert np.abs(mouth_shapes(quiet)).max() < 1e-6


def test_vowels_open_and_lips_meet_in_between() -> None:
    spoken = tone(1.0, Phoneme(0.1, "a"), Phoneme(0.4, "m"), Phoneme(0.5, "a"), Phoneme(0.8, ""))
    jaw = mouth_shapes(spoken)[:, 0]
    assert jaw[6:8].min() > 0.5
    assert jaw[11] < 0.05
    assert jaw[14:18].min() > 0.4
    assert jaw[23:].max() < 0.1


@pytest.mark.parametrize("symbol", sorted(CLOSED_LIPS))
def test_closed_lips_are_closed(symbol: str) -> None:
    assert phoneme_shape(symbol)[0] == 0


def test_unknown_symbols_are_spoken_and_empty_ones_are_not() -> None:
    assert phoneme_shape("ʘ")[0] > 0
    assert phoneme_shape("") == phoneme_shape("_:") == (0, 0, 0, 0)
    assert phoneme_shape("uː") == phoneme_shape("u")


def test_texts_are_seeded() -> None:
    first, again, other = (random_text(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from sadtalker_training.speech import utterance as speech

    monkeypatch.setattr(speech, "LIBRARY", "libnobody-speaks.so")
    speech._library.cache_clear()
    with pytest.raises(UsageError, match=r"libnobody-speaks\.so: install espeak-ng"):
        speech.speak("hello")
    speech._library.cache_clear()

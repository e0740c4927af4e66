import wave
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def short_speech(speech_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first two seconds of the speech: 50 frames, ten chunks."""
    short = tmp_path_factory.mktemp("speech") / "short.wav"
    with wave.open(str(speech_path)) as speech, wave.open(str(short), "wb") as cut:
        cut.setparams(speech.getparams())
        cut.writeframes(speech.readframes(2 * speech.getframerate()))
    return short

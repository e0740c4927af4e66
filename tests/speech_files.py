"""Recordings for tests, cut from the example speech."""

import wave
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def example_speech(folder: Path, seconds: float) -> Path:
    """Write the first `seconds` of the example speech as a WAV file into a folder and return its path."""
    path = folder / "speech.wav"
    with wave.open(str(ROOT / "examples" / "speech.wav")) as whole, wave.open(str(path), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(round(seconds * whole.getframerate())))
    return path

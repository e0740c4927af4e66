"""Fixtures of the tests of the manifests."""

import wave
from pathlib import Path

import pytest
from k8s_manifests import ROOT


@pytest.fixture
def two_seconds(tmp_path: Path) -> Path:
    """Return the first two seconds of the example speech: 50 frames, ten chunks."""
    path = tmp_path / "speech.wav"
    with wave.open(str(ROOT / "examples/speech.wav")) as whole, wave.open(str(path), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(2 * whole.getframerate()))
    return path

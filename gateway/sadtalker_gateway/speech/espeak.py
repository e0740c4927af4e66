"""eSpeak NG as the default synthesiser: no further download, over a hundred languages.

The library and its data come from the PyPI package `espeakng-loader` and are under the GNU General Public License 3.
It runs in a process of its own for each sentence, so a crash costs one request.
"""

import json
import re
import sys
from pathlib import Path

import espeakng_loader

from . import espeak_process
from .synthesis import SpeechError, Utterance, Voice, run_process

DEFAULT_VOICE = "en-us"
WORDS_PER_MINUTE = 165  # at speed 1; eSpeak NG's own 175 is hurried
_VARIANTS = {"": "", "+f3": " (female)"}  # of every voice: files under voices/!v
_VOICE = re.compile(r"[A-Za-z0-9-]{1,32}(\+[a-z]{1,8}[0-9]?)?")


class EspeakSynthesizer:
    """Speaks with eSpeak NG; `seconds` is the longest time for one sentence."""

    name = "espeak-ng"

    def __init__(self, seconds: float = 60.0) -> None:
        library, data = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
        script = Path(espeak_process.__file__)
        self._command = [sys.executable, "-I", "-S", str(script), str(library), str(data)]
        self._seconds = seconds
        self._voices: list[Voice] = []

    async def voices(self) -> list[Voice]:
        """Return each voice as it is and in a female variant."""
        if not self._voices:
            status, out, error = await run_process([*self._command, "voices"], b"", self._seconds)
            if status:
                raise SpeechError(f"eSpeak NG ended with status {status}: {error.decode(errors='replace')[-200:]}")
            found = sorted(json.loads(out), key=lambda voice: (voice["id"] != DEFAULT_VOICE, voice["name"]))
            self._voices = [
                Voice(id=voice["id"] + variant, name=voice["name"] + words, languages=voice["languages"])
                for voice in found
                for variant, words in _VARIANTS.items()
            ]
        return self._voices

    async def synthesize(self, utterance: Utterance) -> bytes:
        """Return the sentence as 16-bit mono WAV at 22050 Hz; a voice is a language code, with a variant if wanted."""
        voice = utterance.voice or utterance.language or DEFAULT_VOICE
        if not _VOICE.fullmatch(voice):
            raise SpeechError(f"voice: expected an id of /v1/voices, got {voice!r}", caller=True)
        words_per_minute = str(round(min(max(utterance.speed, 0.5), 2.5) * WORDS_PER_MINUTE))
        text = utterance.text.replace("\0", " ").encode(errors="replace")
        status, wav, error = await run_process([*self._command, "say", voice, words_per_minute], text, self._seconds)
        if status == espeak_process.UNKNOWN_VOICE:
            raise SpeechError(f"voice: expected an id of /v1/voices, got {voice!r}", caller=True)
        if status:
            raise SpeechError(f"eSpeak NG ended with status {status}: {error.decode(errors='replace')[-200:]}")
        return wav

"""One sentence or the list of voices from eSpeak NG, in a process of its own: a crash costs one request.

    python -I -S espeak_process.py LIBRARY DATA voices          -> JSON on stdout
    python -I -S espeak_process.py LIBRARY DATA say VOICE WPM   UTF-8 text on stdin -> WAV on stdout

Only the standard library is imported, so it starts within 0.05 s. The functions of the library are those of
`espeak-ng/speak_lib.h`. Status 2: the voice is unknown.
"""

import ctypes
import json
import struct
import sys
from collections.abc import Iterator
from typing import Any

SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: the callback gets the samples
DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT
UTF8, CHARACTERS, RATE = 1, 1, 1  # espeakCHARS_UTF8, POS_CHARACTER, espeakRATE
UNKNOWN_VOICE = 2
ALIASES = {"zh": "cmn", "zh-cn": "cmn", "no": "nb", "en": "en-us"}  # codes that eSpeak NG knows under another name


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class Espeak:
    """The library, loaded; `rate` of its samples in Hz."""

    def __init__(self, library: str, data: str) -> None:
        self._library = ctypes.CDLL(library)
        self.rate = int(self._library.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), DONT_EXIT))
        if self.rate <= 0:
            raise OSError(f"expected eSpeak NG's data in {data}, got none that it can read")

    def voices(self) -> Iterator[dict[str, Any]]:
        """Yield the id (its language), the name, the languages and the library's own identifier of each voice."""
        self._library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        voices = self._library.espeak_ListVoices(None)
        index = 0
        while voices[index]:
            voice = voices[index].contents
            language = ctypes.string_at(voice.languages + 1).decode()  # the byte before is its priority
            identifier = voice.identifier.decode()
            yield {"id": language, "name": voice.name.decode(), "languages": [language], "identifier": identifier}
            index += 1

    def say(self, text: str, voice: str, words_per_minute: int) -> bytes | None:
        """Return 16-bit mono samples, or None if there is no such voice."""
        samples = bytearray()
        callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)

        def collect(wave: int | None, count: int, _: int | None) -> int:
            if wave and count > 0:
                samples.extend(ctypes.string_at(wave, 2 * count))
            return 0

        keep = callback(collect)  # must outlive the call of the library
        self._library.espeak_SetSynthCallback(keep)
        if self._library.espeak_SetVoiceByName(self._identifier(voice).encode()) != 0:
            return None
        self._library.espeak_SetParameter(RATE, words_per_minute, 0)
        encoded = text.encode() + b"\0"
        size = ctypes.c_size_t(len(encoded))
        if self._library.espeak_Synth(encoded, size, 0, CHARACTERS, 0, UTF8, None, None) != 0:
            raise OSError("eSpeak NG refused the text")
        self._library.espeak_Synchronize()
        return bytes(samples)

    def _identifier(self, voice: str) -> str:
        """Return the library's name for an id of `voices`, with its variant; for others, the id itself."""
        language, plus, variant = voice.partition("+")
        wanted = ALIASES.get(language.lower(), language.lower())
        for known in self.voices():
            if known["id"].lower() == wanted:
                return f"{known['identifier']}{plus}{variant}"
        return f"{wanted}{plus}{variant}"


def wav(samples: bytes, rate: int) -> bytes:
    """Return 16-bit mono samples as a WAV file."""
    form = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate, 2, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def main(library: str, data: str, task: str, *arguments: str) -> int:
    """Do one task and return the exit status."""
    espeak = Espeak(library, data)
    if task == "voices":
        sys.stdout.write(json.dumps(list(espeak.voices())))
        return 0
    voice, words_per_minute = arguments
    samples = espeak.say(sys.stdin.buffer.read().decode(), voice, int(words_per_minute))
    if samples is None:
        return UNKNOWN_VOICE
    sys.stdout.buffer.write(wav(samples, espeak.rate))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

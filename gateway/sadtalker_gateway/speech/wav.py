"""WAV files that synthesisers return, fitted to the frames of the video."""

import struct

from .synthesis import SpeechError

FRAMES_PER_SECOND = 25
# 8 frames of video last as long as 15 blocks of AAC at 48 kHz, so sentences of a multiple of 8 frames join without
# the slightest gap in the sound.
FRAMES_PER_STEP = 8
PAUSE_SECONDS = 0.12  # of silence after a sentence, at least
_PCM = 1


def fit_to_frames(wav: bytes) -> bytes:
    """Append silence to a 16-bit PCM file until it lasts a multiple of 8 video frames (0.32 s).

    Other files are returned as they are: the server reads any format, and the joined video then has a pause of up to
    11 ms in its sound. Sizes that a streaming writer left open (0 or 0xFFFFFFFF) are corrected.
    """
    found = _pcm(wav)
    if found is None:
        return wav
    form, samples = found
    _, _, rate, _, align, _ = struct.unpack_from("<HHIIHH", form)
    count = len(samples) // align
    step = rate * FRAMES_PER_STEP / FRAMES_PER_SECOND
    steps = -(-(count + PAUSE_SECONDS * rate) // step)
    wanted = int(steps * step) + rate // 200  # the server counts whole frames only: 5 ms more than that
    samples = samples[: count * align] + bytes((wanted - count) * align)
    return _file(form, samples)


def _file(form: bytes, samples: bytes) -> bytes:
    body = b"WAVEfmt " + struct.pack("<I", 16) + form[:16] + b"data" + struct.pack("<I", len(samples)) + samples
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _pcm(wav: bytes) -> tuple[bytes, bytes] | None:
    """Return the format and the samples of a 16-bit PCM file, None for anything else."""
    if len(wav) < 12 or wav[:4] != b"RIFF" or wav[8:12] != b"WAVE":
        return None
    form = b""
    at = 12
    while at + 8 <= len(wav):
        kind, length = struct.unpack_from("<4sI", wav, at)
        at += 8
        if kind == b"fmt ":
            form = wav[at : at + length]
        elif kind == b"data":
            if len(form) < 16:
                return None
            coding, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", form)
            if (coding, bits, align) != (_PCM, 16, 2 * channels) or not rate or not channels:
                return None
            return form, wav[at:] if length == 0 else wav[at : at + length]
        at += length + length % 2
    return None


def joined(wavs: list[bytes]) -> bytes:
    """Return recordings one after the other, each fitted as by `fit_to_frames`.

    Raises:
        SpeechError: they are not 16-bit PCM of one format, and there is more than one.
    """
    if len(wavs) == 1:
        return wavs[0]
    parts = [_pcm(fit_to_frames(wav)) for wav in wavs]
    found = [part for part in parts if part is not None]
    if len(found) < len(parts) or len({form[:16] for form, _ in found}) != 1:
        raise SpeechError("expected 16-bit WAV of one format from the speech synthesiser, got others")
    return _file(found[0][0], b"".join(samples for _, samples in found))

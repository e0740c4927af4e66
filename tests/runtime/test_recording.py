"""Recordings of every kind, good and bad."""

import struct

import numpy as np
import pytest
from decoding import track_here
from pictures import drawn_face, encoded
from recordings import recording, silent_film, tone
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media import audio


def test_sixteen_kilohertz_comes_through_untouched() -> None:
    samples = tone(16_000, 1)
    decoded = audio.decode(recording(samples, 16_000, "pcm_f32le"), 600)
    assert decoded.waveform.dtype == np.float32
    np.testing.assert_array_equal(decoded.waveform, samples[0])
    assert decoded.frames == 25


@pytest.mark.parametrize(
    ("rate", "channels", "codec", "container"),
    [
        (8_000, 1, "pcm_u8", "wav"),
        (16_000, 2, "pcm_s16le", "wav"),
        (44_100, 2, "libmp3lame", "mp3"),
        (48_000, 1, "flac", "flac"),
        (48_000, 2, "libopus", "ogg"),
        (48_000, 1, "aac", "ipod"),
        (96_000, 6, "pcm_s24le", "wav"),
    ],
)
def test_any_rate_channels_and_codec(rate: int, channels: int, codec: str, container: str) -> None:
    decoded = audio.decode(recording(tone(rate, 1, channels), rate, codec, container), 600)
    assert decoded.frames == 25
    assert decoded.sound.channels == (2 if channels == 2 else 1)
    middle = decoded.waveform[4_000:12_000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.15)
    spectrum = np.abs(np.fft.rfft(middle))
    assert spectrum.argmax() * 2 == pytest.approx(300, abs=2)


def test_channels_are_averaged() -> None:
    samples = np.concatenate([tone(16_000, 0.5), -tone(16_000, 0.5)])
    decoded = audio.decode(recording(samples, 16_000, "pcm_f32le"), 600)
    assert np.abs(decoded.waveform).max() < 1e-6


def test_silence_and_clipping_are_fine() -> None:
    assert not audio.decode(recording(np.zeros((1, 16_000)), 16_000), 600).waveform.any()
    clipped = audio.decode(recording(tone(16_000, 1, amplitude=8), 16_000, "pcm_f32le"), 600)
    assert np.abs(clipped.waveform).max() == 1


def test_damaged_packets_are_left_out() -> None:
    data = bytearray(recording(tone(44_100, 2), 44_100, "libmp3lame", "mp3"))
    data[5_000:5_400] = bytes(400)
    assert 40 <= audio.decode(bytes(data), 600).frames <= 51


def test_a_recording_may_be_as_long_as_the_limit() -> None:
    data = recording(tone(16_000, 2), 16_000)
    assert audio.decode(data, 2).frames == 50
    with pytest.raises(InputError, match=r"^audio: expected at most 1\.9 seconds, got a longer recording$"):
        audio.decode(data, 1.9)


def test_the_rest_of_a_long_recording_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = 0
    every_block = audio._blocks

    def counted(data: bytes, rate: int):
        nonlocal blocks
        for block in every_block(data, rate):
            blocks += 1
            yield block

    monkeypatch.setattr(audio, "_blocks", counted)
    data = recording(tone(16_000, 60), 16_000)
    audio.decode(data, 60)
    whole, blocks = blocks, 0
    with pytest.raises(InputError, match="at most 2 seconds"):
        audio.decode(data, 2)
    assert blocks < whole / 20


def _with_nan() -> bytes:
    samples = tone(16_000, 1)
    samples[0, 5_000] = np.nan
    return recording(samples, 16_000, "pcm_f32le")


def _with_rate(rate: int) -> bytes:
    data = recording(tone(16_000, 1), 16_000)
    return data[:24] + struct.pack("<I", rate) + data[28:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a recording, got 0 bytes"),
        (b"hello" * 100, "expected a recording that FFmpeg can read, got 500 bytes of something else"),
        (recording(tone(16_000, 0.01), 16_000), r"at least one video frame of sound \(0.04 s\), got 0.01 s"),
        (silent_film(), "expected a file with an audio stream, got one with video"),
        (encoded(drawn_face()), "expected a file with an audio stream, got one with video"),
        (_with_nan(), "expected finite samples, got NaN or infinity"),
        (_with_rate(1), "expected a sample rate of 4000 to 768000 Hz, got 1 Hz"),
    ],
)
def test_bad_recordings_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^audio: .*{message}"):
        audio.decode(data, 600)


def test_playlists_cannot_reach_files(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.wav").write_bytes(recording(tone(16_000, 1), 16_000))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="expected a recording that FFmpeg can read"):
        audio.decode(b"ffconcat version 1.0\nfile secret.wav\n", 600)


@pytest.mark.parametrize("channels", [1, 2])
def test_track_is_the_sound_at_48_kilohertz(channels: int) -> None:
    decoded = audio.decode(recording(tone(16_000, 1, channels), 16_000, "pcm_f32le"), 600)
    track = track_here(decoded.sound)
    sound = np.concatenate([track.read(length) for length in (1024, 1, 20_000, 26_975, 5_000)], axis=1)
    track.close()
    assert sound.shape == (channels, 53_000)
    np.testing.assert_allclose(sound[0, 200:47_800], tone(48_000, 1)[0, 200:47_800], atol=2e-3)
    assert not sound[:, 48_000:].any()


def test_six_channels_become_one_track() -> None:
    decoded = audio.decode(recording(tone(48_000, 0.5, 6), 48_000), 600)
    assert track_here(decoded.sound).read(480).shape == (1, 480)

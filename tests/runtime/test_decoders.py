"""Decoding in processes of their own: the same samples and pixels as here, and what becomes of decoders that end."""

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
from films import film, grey
from pictures import drawn_face, encoded
from PIL import Image
from recordings import recording, tone
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media import audio, video
from sadtalker_runtime.media.decoder_process import Limits
from sadtalker_runtime.media.decoders import DecoderError, Decoders
from sadtalker_runtime.portrait import picture

SPEECH = recording(tone(16_000, 1), 16_000)


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(spare=1)
    yield made
    made.close()


def processes(decoders: Decoders) -> list[psutil.Process]:
    """Return the decoders that wait."""
    return [psutil.Process(process._process.pid) for process in decoders._idle]


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_speech_and_its_track_are_those_decoded_here(decoders: Decoders, channels: int) -> None:
    data = recording(tone(44_100, 2, channels), 44_100)
    here, there = audio.decode(data, 600), decoders.speech(data, 600)
    np.testing.assert_array_equal(there.waveform, here.waveform)
    assert there.sound == here.sound
    blocks = audio.track_blocks(data, here.sound.channels)
    expected, track = audio.Track(here.sound, blocks), decoders.track(there.sound)
    for samples in (1024, 1, 50_000, 60_000):
        np.testing.assert_array_equal(track.read(samples), expected.read(samples))
    track.close()


def test_pictures_and_videos_are_those_decoded_here(decoders: Decoders) -> None:
    data = encoded(drawn_face(), "JPEG")
    np.testing.assert_array_equal(decoders.picture(data), picture.decode(data))
    data = film(grey(range(0, 200, 10)), 10, sound=tone(48_000, 1))
    here, there = video.inspect("driving", data, 600), decoders.video("driving", data, 600)
    assert (there.name, there.frames, there.sound) == (here.name, here.frames, here.sound)
    assert all((a == b).all() for a, b in zip(there.pictures(), here.pictures(), strict=True))


def test_refusals_come_through(decoders: Decoders) -> None:
    with pytest.raises(InputError, match=r"^audio: expected at most 0\.5 seconds, got a longer recording$"):
        decoders.speech(SPEECH, 0.5)
    with pytest.raises(InputError, match=r"^pose_reference: expected a video that FFmpeg can read, got 5 bytes"):
        decoders.video("pose_reference", b"hello", 60)
    with pytest.raises(InputError, match=r"^image: expected an encoded picture"):
        decoders.picture(b"hello")


def test_a_decoder_is_used_again_unless_its_input_was_bad(decoders: Decoders) -> None:
    decoders.picture(encoded(drawn_face()))
    [before] = processes(decoders)
    decoders.speech(SPEECH, 600)
    track = decoders.track(audio.Sound(SPEECH, 1))
    assert track.read(10).shape == (1, 10)
    track.close()
    assert processes(decoders) == [before]
    with pytest.raises(InputError):
        decoders.picture(b"hello")
    [after] = processes(decoders)
    assert after != before
    before.wait(10)


def a_long_wait() -> bytes:
    """Return a recording that takes a while."""
    return recording(np.zeros((2, 600 * 44_100), np.float32), 44_100, "flac", "flac")


def killed_while_it_decodes(decoders: Decoders, number: int) -> None:
    [process] = processes(decoders)
    threading.Timer(0.1, os.kill, (process.pid, number)).start()
    decoders.speech(LONG, 600)


LONG = a_long_wait()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_a_crash_is_its_input_s_fault_alone(decoders: Decoders, number: signal.Signals) -> None:
    message = rf"^audio: expected a file that decodes, got one that crashes its decoder \({number.name}\)$"
    with pytest.raises(InputError, match=message):
        killed_while_it_decodes(decoders, number)
    assert decoders.speech(SPEECH, 600).frames == 25


def test_a_decoder_that_is_killed_is_nobody_s_fault(decoders: Decoders) -> None:
    with pytest.raises(DecoderError, match=r"^the decoder of audio ended \(exit code -9\)$"):
        killed_while_it_decodes(decoders, signal.SIGKILL)
    assert decoders.speech(SPEECH, 600).frames == 25


def test_a_decoder_that_died_while_it_waited_fails_one_request(decoders: Decoders) -> None:
    [process] = processes(decoders)
    process.kill()
    process.wait(10)
    with pytest.raises(DecoderError):
        decoders.speech(SPEECH, 600)
    assert decoders.speech(SPEECH, 600).frames == 25


def test_limits_of_memory_and_time() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "PNG")
    cases = [
        (Limits(data_bytes=200 << 20), "200 MiB of memory", lambda limited: limited.picture(file.getvalue())),
        (Limits(cpu_seconds=0), "0 s of processor time", lambda limited: [limited.speech(LONG, 600) for _ in range(9)]),
        (Limits(clock_seconds=0.05), "0.05 s", lambda limited: limited.speech(LONG, 600)),
    ]
    for limits, limit, task in cases:
        limited = Decoders(1, limits)
        with pytest.raises(InputError, match=f": expected a file that decodes, got one that takes more than {limit}$"):
            task(limited)
        limited.close()


def test_a_video_that_is_left_while_it_decodes_leaves_no_process(decoders: Decoders) -> None:
    [process] = processes(decoders)
    with ThreadPoolExecutor() as pool:
        answers = decoders._open("audio", "speech", LONG, 600.0)
        failing = pool.submit(next, answers)
        time.sleep(0.1)
        answers.close()
        assert isinstance(failing.exception(), DecoderError)
    process.wait(10)
    assert len(processes(decoders)) == 1


def test_decoders_end_when_they_are_closed() -> None:
    closing = Decoders(spare=2)
    waiting = processes(closing)
    track = closing.track(audio.Sound(LONG, 1))
    closing.close()
    track.close()
    assert psutil.wait_procs(waiting, 10)[1] == []

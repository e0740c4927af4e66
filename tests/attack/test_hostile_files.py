"""Hostile files against the decoders: each is decoded or refused by name, soon, and the next one is served."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import hostile
import numpy as np
import pytest
from sadtalker_runtime.errors import EXCERPT, InputError, excerpt
from sadtalker_runtime.media.decoders import Decoders

SECONDS = 30.0  # for one small file on a busy machine


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(spare=2)
    yield made
    made.close()


def outcome(name: str, task: Callable[[bytes], object], data: bytes) -> str:
    """Return what came of a file: decoded, or why it was refused; any other error is raised."""
    start = time.monotonic()
    try:
        task(data)
    except InputError as error:
        return _checked(name, str(error))
    finally:
        assert time.monotonic() - start < SECONDS, name
    return "decoded"


def _checked(name: str, message: str) -> str:
    assert "expected" in message and message.isprintable(), (name, message)
    assert len(message) < 300, (name, message)
    return message


def hear(decoders: Decoders, data: bytes) -> None:
    track = decoders.track(decoders.speech(data, 60).sound)
    while track.read(48_000).any():
        pass
    track.close()


def watch(decoders: Decoders, data: bytes) -> None:
    video = decoders.video("driving", data, 60)
    try:
        for picture in video.pictures():
            assert picture.dtype == np.uint8
    finally:
        video.close()


def test_recordings(decoders: Decoders) -> None:
    outcomes = {name: outcome(name, partial(hear, decoders), data) for name, data in hostile.recordings().items()}
    assert "decoded" in outcomes.values()
    assert outcomes["no decoder"] == "audio: expected a stream with a known codec, got one without a decoder"
    assert outcomes["65535 channels"] != "decoded"
    hear(decoders, hostile.many_channels(1))


def test_videos(decoders: Decoders) -> None:
    outcomes = {name: outcome(name, partial(watch, decoders), data) for name, data in hostile.videos().items()}
    assert "decoded" in outcomes.values()
    assert outcomes["no decoder"] == "driving: expected a stream with a known codec, got one without a decoder"
    assert outcomes["compressed header"].startswith("driving: expected a header of at most 16 MB")
    watch(decoders, hostile.encoded_video())


def test_pictures(decoders: Decoders) -> None:
    outcomes = {name: outcome(name, decoders.picture, data) for name, data in hostile.pictures().items()}
    assert "decoded" in outcomes.values()
    assert outcomes["thin"].startswith("image: expected sides of which none is more than 100 times as long")
    decoders.picture(hostile.encoded_picture("PNG"))


@pytest.mark.parametrize("channels", [7, 8, 9, 16, 63, 64])
def test_recordings_of_many_channels_are_heard(decoders: Decoders, channels: int) -> None:
    recording = decoders.speech(hostile.many_channels(channels), 60)
    assert recording.frames == 15
    assert np.abs(recording.waveform[2000:8000]).max() == pytest.approx(9000 / 32768, rel=0.01)
    track = decoders.track(recording.sound)
    assert np.abs(track.read(20_000)[:, 5_000:]).max() == pytest.approx(9000 / 32768, rel=0.01)
    track.close()


def test_planar_codecs_of_many_channels_are_heard(decoders: Decoders) -> None:
    for codec, container, layout, channels, options in (
        ("flac", "flac", "7.1", 8, {}),
        ("libopus", "matroska", "hexadecagonal", 16, {"mapping_family": "255"}),
        ("wavpack", "wv", "22.2", 24, {}),
    ):
        data = hostile.encoded_sound(codec, container, layout, channels, **options)
        assert np.abs(decoders.speech(data, 60).waveform[2000:6000]).max() == pytest.approx(0.3, rel=0.1)


def test_more_channels_are_refused(decoders: Decoders) -> None:
    with pytest.raises(InputError, match=r"^audio: expected 1 to 64 channels, got 65$"):
        decoders.speech(hostile.many_channels(65), 60)


def test_what_comes_from_outside_is_cut_short() -> None:
    assert excerpt("a\nb" + "x" * 200) == "a?b" + "x" * (EXCERPT - 6) + "..."
    assert len(excerpt("y" * EXCERPT)) == EXCERPT

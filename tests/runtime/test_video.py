"""Videos of every kind as pictures at 25 per second, good and bad."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from decoding import track_here
from films import film, grey
from recordings import recording, silent_film, tone
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media import audio, video


def levels(data: bytes) -> list[float]:
    """Return the grey levels of the pictures."""
    read = video.inspect("driving", data, 600)
    pictures = list(read.pictures())
    assert len(pictures) == read.frames
    return [float(picture.mean()) for picture in pictures]


def test_25_per_second_come_one_by_one() -> None:
    shown = range(20, 220, 10)
    np.testing.assert_allclose(levels(film(grey(shown))), shown, atol=3)


def test_of_60_per_second_those_shown_at_the_time_are_taken() -> None:
    shown = np.arange(120)  # grey level: the frame's number
    found = levels(film(grey(shown), 60))
    assert len(found) == 50
    np.testing.assert_allclose(found, np.floor(np.arange(50) * 60 / 25), atol=2)


def test_10_per_second_are_repeated() -> None:
    found = levels(film(grey(range(0, 200, 10)), 10))
    assert len(found) == 50
    np.testing.assert_allclose(found, 10 * np.floor(np.arange(50) * 10 / 25), atol=3)


def test_time_stamps_count_where_the_rate_varies() -> None:
    times = [0, 0.04, 0.08, 0.5, 0.52, 0.54, 0.9, 1.0]
    found = levels(film(grey(range(0, 240, 30)), times=times))
    assert len(found) in (26, 27)  # how long the last picture lasts is the encoder's guess
    seconds = np.arange(25) / 25
    expected = [30 * max(i for i, at in enumerate(times) if at <= second + 1e-6) for second in seconds]
    np.testing.assert_allclose(found[:25], expected, atol=3)


def test_a_video_that_begins_late_begins_at_once() -> None:
    times = [3 + index / 25 for index in range(10)]
    np.testing.assert_allclose(levels(film(grey(range(0, 100, 10)), times=times)), range(0, 100, 10), atol=3)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts", "h264"])
def test_containers(container: str) -> None:
    found = levels(film(grey(range(0, 200, 10)), container=container))
    assert len(found) == 20
    assert all(after > before for before, after in pairwise(found))


def test_other_shapes_come_upright_with_square_pixels() -> None:
    def first(**how: object) -> np.ndarray:
        page = np.zeros((100, 160, 3), np.uint8)
        page[:20] = 255  # a bar on top
        return next(video.inspect("driving", film([page] * 3, **how), 600).pictures())

    assert first().shape == (100, 160, 3)
    assert first(pixel_aspect=Fraction(3, 2)).shape == (100, 240, 3)
    turned = first(rotation=90)
    assert turned.shape == (160, 100, 3)
    assert turned[:, :15].mean() > 200 > 50 > turned[:, 25:].mean()  # counterclockwise: what was on top is left
    assert first(rotation=180)[85:].mean() > 200


def test_large_pictures_are_shrunk() -> None:
    data = film(grey([100] * 2, 1920, 1080))
    assert next(video.inspect("driving", data, 600).pictures()).shape == (720, 1280, 3)


def test_nothing_is_decoded_ahead() -> None:
    read = video.inspect("driving", film(grey(range(0, 250))), 600)
    pictures = read.pictures()
    assert next(pictures).mean() < 5
    pictures.close()


def test_its_sound_is_found() -> None:
    silent = video.inspect("driving", film(grey([0] * 25)), 600)
    assert silent.sound is None
    data = film(grey([0] * 25), sound=tone(48_000, 1))
    heard = video.inspect("driving", data, 600).sound
    assert heard.channels == 1
    track = track_here(heard)
    samples = np.concatenate([track.read(4800) for _ in range(10)], axis=1)
    assert np.sqrt((samples[:, 4800:43200] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)


def test_sound_may_begin_before_or_after_the_picture() -> None:
    data = recording(tone(48_000, 1), 48_000, "pcm_f32le")
    late = track_here(audio.Sound(data, 1, 0.5)).read(48_000)
    assert not late[:, :24_000].any()
    np.testing.assert_allclose(late[:, 24_000:], tone(48_000, 1)[:, :24_000], atol=1e-6)
    early = track_here(audio.Sound(data, 1, -0.5)).read(48_000)
    np.testing.assert_allclose(early[:, :24_000], tone(48_000, 1)[:, 24_000:], atol=1e-6)
    assert not early[:, 24_000:].any()
    assert not track_here(audio.SILENCE).read(1000).any()


def test_damaged_packets_are_left_out() -> None:
    data = bytearray(film(grey(np.linspace(0, 240, 100)), container="mpegts"))
    data[6_000:9_000] = bytes(3_000)
    assert len(levels(bytes(data))) > 50


BAD = {
    "empty": (b"", r"expected a video, got 0 bytes"),
    "not a video": (b"hello", r"expected a video that FFmpeg can read, got 5 bytes of something else"),
    "sound alone": (
        recording(tone(16_000, 1), 16_000),
        r"expected a file with a video stream, got one with audio",
    ),
    "too long": (film(grey([0] * 30), 1), r"expected at most 20 seconds, got a longer video"),
    "too small": (
        film(grey([0] * 5, 32, 64)),
        r"expected pictures of at least 64 pixels on each side and at most 9.4 megapixels, got 32 x 64 pixels",
    ),
    "no frames": (film(grey([0] * 5))[:-1000], r"expected a .*"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_videos_are_refused(case: str) -> None:
    data, message = BAD[case]
    with pytest.raises(InputError, match=f"^driving: {message}$"):
        list(video.inspect("driving", data, 20).pictures())


def test_a_playlist_opens_nothing() -> None:
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n"
    with pytest.raises(InputError, match=r"^driving: expected a"):
        list(video.inspect("driving", playlist, 20).pictures())


def test_a_film_without_faces_reads_as_any() -> None:
    assert len(levels(silent_film())) == 5

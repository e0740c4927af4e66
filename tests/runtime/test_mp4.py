"""The fragmented MP4: complete, in step, the same every time, playable from its first fragment on."""

import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from pictures import drawn_face
from recordings import tone
from sadtalker_runtime.media import mp4

FACE = drawn_face(256)
SOUND = tone(48_000, 10)[0]


def _fragments(frames: int, channels: int = 1, pixel_aspect: Fraction = Fraction(1), shift: int = 2) -> list[bytes]:
    """Return a face that moves sideways, with a tone."""
    position = 0

    def read(samples: int) -> np.ndarray:
        nonlocal position
        position += samples
        return np.tile(SOUND[position - samples : position], (channels, 1))

    writer = mp4.FragmentedMp4(frames, 256, 256, channels, read, pixel_aspect)
    try:
        return [
            writer.write(np.stack([np.roll(FACE, shift * at, axis=1) for at in range(first, min(first + 5, frames))]))
            for first in range(0, frames, 5)
        ]
    finally:
        writer.close()


def _pictures(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data)) as file:
        return list(file.decode(video=0))


def _boxes(data: bytes) -> list[str]:
    kinds, offset = [], 0
    while offset < len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        kinds.append(kind.decode())
        offset += length
    assert offset == len(data)
    return kinds


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 6, 25, 84])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_frame_is_there_and_sound_ends_with_the_picture(frames: int, channels: int) -> None:
    data = b"".join(_fragments(frames, channels))
    pictures = _pictures(data)
    assert [picture.time for picture in pictures] == pytest.approx([at / 25 for at in range(frames)])
    with av.open(io.BytesIO(data)) as file:
        assert (file.streams.video[0].average_rate, file.streams.video[0].codec_context.name) == (25, "h264")
        assert (file.streams.video[0].width, file.streams.video[0].height) == (256, 256)
        assert (file.streams.audio[0].codec_context.name, file.streams.audio[0].channels) == ("aac", channels)
        blocks = list(file.decode(audio=0))
    assert blocks[0].time == 0
    assert blocks[-1].time + blocks[-1].samples / 48_000 == pytest.approx(frames / 25, abs=0.011)


def test_picture_and_sound_are_what_went_in() -> None:
    data = b"".join(_fragments(50))
    for at in (0, 7, 49):
        decoded = _pictures(data)[at].to_ndarray(format="rgb24").astype(int)
        assert np.abs(decoded - np.roll(FACE, 2 * at, axis=1)).mean() < 3
    with av.open(io.BytesIO(data)) as file:
        sound = np.concatenate([block.to_ndarray() for block in file.decode(audio=0)], axis=1)[0]
    np.testing.assert_allclose(sound[2_048:95_000], SOUND[2_048:95_000], atol=0.03)  # in step to the sample


def test_every_fragment_completes_its_frames() -> None:
    fragments = _fragments(17)
    assert [_boxes(fragment) for fragment in fragments] == [["ftyp", "moov", "uuid", "moof", "mdat"]] + 3 * [
        ["moof", "mdat"]
    ]
    received = b""
    for fragment, frames in zip(fragments, (5, 10, 15, 17), strict=True):
        received += fragment
        assert len(_pictures(received)) == frames


def test_the_first_fragment_plays_alone() -> None:
    pictures = _pictures(_fragments(50)[0])
    assert len(pictures) == 5
    assert pictures[0].key_frame


def test_the_same_frames_give_the_same_bytes() -> None:
    assert _fragments(30) == _fragments(30)
    assert _fragments(30) != _fragments(30, shift=3)


@pytest.mark.parametrize("frames", [1, 84])
def test_the_header_says_how_long_the_whole_video_is(frames: int) -> None:
    first = _fragments(frames)[0]
    durations = {}
    for kind, duration_at in ((b"mvhd", 20), (b"mehd", 8), (b"tkhd", 24), (b"mdhd", 20)):
        at = first.index(kind)
        durations[kind] = struct.unpack_from(">I", first, at + duration_at)[0]
    assert durations == {
        b"mvhd": 40 * frames,  # milliseconds
        b"mehd": 40 * frames,
        b"tkhd": 40 * frames,
        b"mdhd": 12_800 // 25 * frames,  # the video track's time scale
    }
    with av.open(io.BytesIO(first)) as file:  # a player that has received nothing else yet
        assert file.duration / av.time_base == pytest.approx(frames / 25, abs=0.011)


def test_colours_are_labelled() -> None:
    with av.open(io.BytesIO(_fragments(1)[0])) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


def test_oblong_pixels_are_stretched_by_the_player() -> None:
    with av.open(io.BytesIO(_fragments(1, pixel_aspect=Fraction(4, 3))[0])) as file:
        assert file.streams.video[0].display_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("moving", [(30, 21, 77, 80), (0, 0, 50, 33), (61, 40, 120, 96), (3, 5, 117, 91)])
def test_bytes_are_the_same_where_only_a_rectangle_is_said_to_move(moving: tuple[int, int, int, int]) -> None:
    random = np.random.default_rng(0)
    left, top, right, bottom = moving
    pictures = np.repeat(random.integers(0, 256, (1, 96, 120, 3), np.uint8), 7, 0)
    pictures[:, top:bottom, left:right] = random.integers(0, 256, (7, bottom - top, right - left, 3), np.uint8)

    def video(rectangle: tuple[int, int, int, int] | None) -> bytes:
        silence = lambda samples: np.zeros((1, samples), np.float32)  # noqa: E731
        writer = mp4.FragmentedMp4(7, 120, 96, 1, silence, moving=rectangle)
        try:
            return writer.write(pictures[:5]) + writer.write(pictures[5:])
        finally:
            writer.close()

    assert video(moving) == video(None)
    shrunk = left + 16, top + 16, right - 16, bottom - 16
    assert video(shrunk) != video(None), "pixels outside of the rectangle are not looked at"

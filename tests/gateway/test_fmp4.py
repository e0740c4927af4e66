"""Joining fragmented MP4s."""

import io
import itertools

import av
import pytest
from sadtalker_gateway.fmp4 import BoxReader, Fmp4Error, FragmentJoiner
from talking_triton import EDGE, talking_video


def times(mp4: bytes, kind: str) -> list[float]:
    with av.open(io.BytesIO(mp4)) as container:
        return [frame.time for frame in container.decode(**{kind: 0})]


def joined(videos: list[bytes], step: int) -> tuple[bytes, FragmentJoiner]:
    joiner = FragmentJoiner()
    out = b""
    for video in videos:
        for at in range(0, len(video), step):
            out += joiner.feed(video[at : at + step])
        joiner.end_video()
    return out, joiner


@pytest.mark.parametrize("step", [7, 1000, 10**6])
def test_videos_follow_each_other_without_a_gap(step):
    out, joiner = joined([talking_video(24), talking_video(8), talking_video(40)], step)
    assert joiner.seconds == pytest.approx(72 / 25)
    assert joiner.size == (EDGE, EDGE)
    pictures, sound = times(out, "video"), times(out, "audio")
    assert pictures == pytest.approx([index / 25 for index in range(72)], abs=1e-6)
    assert sound == pytest.approx([index * 1024 / 48000 for index in range(135)], abs=1e-6)
    kinds = [kind for kind, _ in BoxReader().feed(out)]
    assert kinds.count(b"moov") == kinds.count(b"ftyp") == 1
    numbers = [int.from_bytes(box[20:24], "big") for kind, box in BoxReader().feed(out) if kind == b"moof"]
    assert numbers == list(range(1, len(numbers) + 1))


def test_sound_and_picture_never_drift_apart():
    """Videos whose sound is up to half a block longer or shorter than their pictures: that does not add up."""
    lengths = [9, 11, 13, 10, 25, 7, 31] * 3
    out, _ = joined([talking_video(frames) for frames in lengths], 10**6)
    pictures, sound = times(out, "video"), times(out, "audio")
    first_picture, first_block = [], []
    frames = blocks = 0
    for length in lengths:
        first_picture.append(pictures[frames])
        first_block.append(sound[blocks])
        frames, blocks = frames + length, blocks + round(length * 1920 / 1024)
    assert first_block == pytest.approx(first_picture, abs=1e-4)
    for stamps, duration in ((pictures, 0.04), (sound, 1024 / 48000)):
        steps = [later - earlier for earlier, later in itertools.pairwise(stamps)]
        assert min(steps) >= duration - 1e-4
        assert max(steps) <= duration + 0.0114


def test_the_first_video_is_passed_on_unchanged():
    assert joined([talking_video(24)], 500)[0] == talking_video(24)


@pytest.mark.parametrize(
    "videos, message",
    [
        ([b"\x00\x00\x00\x02abcd"], "expected a box of 8 bytes or more, got one of 2"),
        ([talking_video(8), talking_video(8, 2 * EDGE)], "expected a video of the same size and format"),
        ([talking_video(8)[:-5]], "expected a whole video, got one that ends in the middle of a box"),
        ([talking_video(8)[talking_video(8).index(b"moof") - 4 :]], "expected a header before the first fragment"),
        ([b"\x00\x00\x00\x10moov\x00\x00\x00\x63trak"], "expected a box within 8 bytes"),
    ],
)
def test_what_is_no_continuation_is_refused(videos, message):
    with pytest.raises(Fmp4Error, match=message):
        joined(videos, 10**6)

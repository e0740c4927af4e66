"""Fuzzing in short: damaged files in a decoder's process, options in this one. `make fuzz` is guided by coverage."""

from collections.abc import Callable, Iterator

import fuzz_targets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.media.decoders import Decoders

SETTINGS = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
FILES = {kind: fuzz_targets.corpus(kind) for kind in ("picture", "recording", "video")}


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> bytes:
    """Return a valid file with other bytes, most of them in its header, perhaps with some put in or the end cut off."""
    data = bytearray(draw(st.sampled_from(FILES[kind])))
    reach = draw(st.sampled_from([64, 512, len(data)]))
    for at, value in draw(st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), max_size=12)):
        data[at % min(reach, len(data))] = value
    if draw(st.booleans()):
        at = draw(st.integers(0, len(data)))
        data[at:at] = draw(st.binary(max_size=32))
    return bytes(data[: draw(st.sampled_from([len(data), len(data) // 2, 40]))])


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    made = Decoders(spare=2)
    yield made
    made.close()


def check(read: Callable[[], object]) -> None:
    """Read a file, or have it refused by an InputError that says what was expected; nothing else is raised."""
    try:
        read()
    except InputError as error:
        message = str(error)
        assert "expected" in message and message.isprintable() and len(message) < 300
        assert "crashes its decoder" not in message
        assert "takes more than" not in message


@SETTINGS
@given(damaged("picture"))
def test_pictures(decoders: Decoders, data: bytes) -> None:
    check(lambda: decoders.picture(data))


@SETTINGS
@given(damaged("recording"))
def test_recordings(decoders: Decoders, data: bytes) -> None:
    def hear() -> None:
        track = decoders.track(decoders.speech(data, 60).sound)
        try:
            track.read(200_000)
        finally:
            track.close()

    check(hear)


@SETTINGS
@given(damaged("video"))
def test_videos(decoders: Decoders, data: bytes) -> None:
    def watch() -> None:
        video = decoders.video("driving", data, 60)
        try:
            for _ in zip(range(20), video.pictures(), strict=False):
                pass
        finally:
            video.close()

    check(watch)


@settings(SETTINGS, max_examples=1500)
@given(st.binary(max_size=400))
def test_options(data: bytes) -> None:
    fuzz_targets.survives("options", data)

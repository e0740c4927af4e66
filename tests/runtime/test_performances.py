"""Sources of motion: speech with references, another face, a loop of silence; and what contradicts what."""

import asyncio
import io
from collections import Counter
from contextlib import aclosing, nullcontext
from itertools import pairwise

import av
import numpy as np
import pytest
from decoding import decoders
from films import film, grey
from PIL import Image
from recordings import recording, tone
from sadtalker_runtime import options
from sadtalker_runtime.animation import animator as animation
from sadtalker_runtime.animation import performances, windows
from sadtalker_runtime.errors import CallError, InputError

SOURCE = np.linspace(-1, 1, 70, dtype=np.float32)
SPEECH = recording(tone(16_000, 1), 16_000)
LEVELS = range(0, 240, 8)  # of the 30 pictures of FACE
FACE = film(grey(LEVELS))


class Models:
    """Stands in for the other models; a face's coefficients are all the brightness of its picture."""

    def __init__(self) -> None:
        self.asked = Counter()
        self.speech: list[dict[str, np.ndarray]] = []
        self.windows: list[np.ndarray] = []

    async def call(self, model: str, inputs: dict[str, np.ndarray], *outputs: str) -> list[np.ndarray]:
        self.asked[model] += 1
        made = getattr(self, model)(**inputs)
        return [made[name] for name in outputs]

    def encode_portrait(self, image: np.ndarray, crop: np.ndarray, face_index: np.ndarray) -> dict[str, np.ndarray]:
        coefficients = np.zeros((1, 257), np.float32)
        coefficients[0, 80:144], coefficients[0, 224:227], coefficients[0, 254:257] = np.split(SOURCE, [64, 67])
        return {
            "appearance": np.zeros((1, 1), np.float32),
            "canonical_keypoints": np.zeros((1, 15, 3), np.float32),
            "coefficients": coefficients,
            "geometry": np.array([[0, 0, 150, 200, 300, 300]], np.int32),
            "alignment": np.zeros((1, 5), np.float32),
            "landmarks": np.zeros((1, 5, 2), np.float32),
            "picture": np.full((1, 300, 300, 3), 7, np.uint8),
        }

    def motion(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {"keypoints": np.zeros((1, 5, 15, 3), np.float32)}

    motion_full = motion

    def portrait_crop(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {
            "geometry": np.array([[0, 0, 64, 64, 64, 64]], np.int32),
            "alignment": np.array([[256, 256, 3.5, 128, 128]], np.float32),  # a quarter of the picture
        }

    def face_reconstruction(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return {"coefficients": np.tile(image.mean((1, 2, 3))[:, None], 257).astype(np.float32)}

    def audio2coeff(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.speech.append(inputs)
        frames = np.arange(*inputs["frames"])
        return {"coefficients": (np.sin(frames)[:, None] + np.linspace(0, 1, 70)).astype(np.float32)}

    def render_frames(self, coefficient_windows: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        self.windows.extend(coefficient_windows[0])
        return {"frames": np.full((1, 5, 256, 256, 3), 100, np.uint8)}

    render_frames_full = render_frames


def performed(audio: bytes | None = None, **asked: object) -> tuple[np.ndarray, Models]:
    """Return the coefficients of a whole performance, in ranges as a video asks for them."""
    models = Models()

    async def run() -> np.ndarray:
        performance = performances.prepare(models.call, decoders(), audio, options.Options(**asked), 60)
        parts = [await performance.coefficients(SOURCE, *part) for part in windows.ranges(performance.frames)]
        await performance.close()
        return np.concatenate(parts)

    return asyncio.run(run()), models


class Observer:
    """Listens to nothing."""

    def stage(self, name: str):
        return nullcontext()

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


def _any(model: str) -> bool:
    return True


def rendered(audio: bytes | None = None, **asked: object) -> tuple[list, Models]:
    """Return the fragments of a video."""
    models = Models()

    async def run() -> list:
        animator = animation.Animator(models.call, _any, Observer(), decoders(), 256, 60, 3, 4)
        return [part async for part in animator.animate(b"portrait", audio, options.Options(**asked))]

    return asyncio.run(run()), models


def test_a_driving_video_gives_expression_and_pose() -> None:
    values, models = performed(driving=FACE)
    np.testing.assert_allclose(values * 255, np.tile(np.array(LEVELS)[:, None], 70), atol=3)
    assert models.speech == []


def test_driven_motion_is_scaled_as_any() -> None:
    _, models = rendered(driving=FACE, still=True, expression_scale=0.5)
    seen = np.array([window[:, windows.RADIUS] for window in models.windows])
    np.testing.assert_array_equal(seen[:, 64:], np.tile(SOURCE[64:], (30, 1)))
    np.testing.assert_allclose(seen[:, :64] * 510, np.tile(np.array(LEVELS)[:, None], 64), atol=3)


def test_a_pose_reference_moves_the_head_from_the_portrait_s_pose() -> None:
    values, models = performed(SPEECH, pose_reference=FACE)
    spoken = np.sin(np.arange(25))[:, None] + np.linspace(0, 1, 70)
    np.testing.assert_allclose(values[:, :64], spoken[:, :64], atol=1e-5)
    motion = (np.array(LEVELS)[:25, None] - LEVELS[0]) / 255
    np.testing.assert_allclose(values[:, 64:], SOURCE[64:] + motion, atol=0.02)
    assert all("reference_expression" not in asked for asked in models.speech)


def test_a_blink_reference_lends_its_expression_and_no_other_blinks() -> None:
    values, models = performed(SPEECH, blink_reference=FACE)
    [asked] = models.speech
    np.testing.assert_allclose(asked["reference_expression"] * 255, np.tile(np.array(LEVELS)[:25, None], 64), atol=3)
    assert asked["reference_expression"].dtype == np.float32
    assert not asked["blink"].any()
    np.testing.assert_allclose(
        values[:, 64:], (np.sin(np.arange(25))[:, None] + np.linspace(0, 1, 70))[:, 64:], atol=1e-5
    )


@pytest.mark.parametrize("asked", [{}, {"pose_reference": FACE, "blink_reference": FACE}], ids=["plain", "references"])
def test_a_loop_leaves_the_portrait_s_pose_and_comes_back_to_it(asked: dict) -> None:
    values, models = performed(idle=4.0, **asked)
    assert len(values) == 100
    assert not models.speech[0]["waveform"].any()
    pose = values[:, 64:] - SOURCE[64:]
    np.testing.assert_allclose(pose[0], 0, atol=1e-6)
    assert np.abs(pose[[1, -1]]).max() < 0.02
    assert np.abs(pose[25:75]).max() > 0.5
    if asked:
        eyes = np.concatenate([part["reference_expression"] for part in models.speech]) - SOURCE[:64]
        assert np.abs(eyes[[0, 1, -1]]).max() < 0.02


@pytest.mark.parametrize("asked", [{"audio": SPEECH}, {"driving": FACE}], ids=lambda asked: str(*asked))
@pytest.mark.parametrize("settle", [0.04, 0.4, 10.0])
def test_a_settled_video_begins_and_ends_at_rest_with_zero_speed(asked: dict, settle: float) -> None:
    values, models = performed(**asked, settle=settle)
    free, _ = performed(**asked)
    silences = [asked for asked in models.speech if len(asked["waveform"]) == 640]
    assert silences and not any(asked["waveform"].any() or asked["blink"].any() for asked in silences)
    rest = models.audio2coeff(frames=np.array([0, 1]))["coefficients"][0]
    rest[64:] = SOURCE[64:]
    np.testing.assert_allclose(values[[0, -1]], [rest, rest], atol=1e-6)
    away = np.abs(values - rest) / np.maximum(np.abs(free - rest), 1e-3)
    if settle >= 0.4:
        assert away[[1, -2]].max() < 0.2  # of the way at most, in the first 40 ms
        assert away[[1, -2], 64:].max() < 0.1
    if settle == 0.4:
        np.testing.assert_allclose(values[10:-10], free[10:-10], atol=1e-6)
        np.testing.assert_allclose(values[5:-5, :64], free[5:-5, :64], atol=1e-6)
        assert np.abs(values - free)[5:10, 64:].max() > 0.05


def test_given_coefficients_move_the_face_and_speech_is_only_heard() -> None:
    given = np.random.default_rng(0).standard_normal((30, 70)).astype(np.float32)
    values, models = performed(SPEECH, coefficients=given)
    np.testing.assert_array_equal(values, given)
    assert not models.speech
    parts, models = rendered(SPEECH, coefficients=given, expression_scale=0.5)
    assert parts[-1].frames_total == 30
    seen = np.array([window[:, windows.RADIUS] for window in models.windows])
    np.testing.assert_allclose(seen[:, :64], given[:, :64] / 2, rtol=1e-6)
    assert np.abs(sound_of(parts)[0]).max() > 0.1


@pytest.mark.parametrize("asked", [{"audio": SPEECH}, {"driving": FACE}], ids=lambda asked: str(*asked))
def test_coefficients_come_as_a_file_without_rendering(asked: dict) -> None:
    [part], models = rendered(**asked, coefficients_only=True)
    values = np.load(io.BytesIO(part.video))
    np.testing.assert_array_equal(values, performed(**asked)[0])
    assert values.dtype == np.float32
    assert not models.asked["render_frames"]


@pytest.mark.parametrize(
    ("values", "asked", "message"),
    [
        (np.full((5, 70), np.nan, np.float32), {}, "coefficients: expected finite values, got NaN or infinity"),
        (np.zeros((0, 70), np.float32), {}, "coefficients: expected 1 to 1500 frames, got 0"),
        (np.zeros((1501, 70), np.float32), {}, "coefficients: expected 1 to 1500 frames, got 1501"),
        (np.zeros((5, 70), np.float32), {"driving": FACE}, "coefficients: expected without driving, got both"),
        (np.zeros((5, 70), np.float32), {"idle": 2.0}, "coefficients: expected without idle, got both"),
    ],
)
def test_bad_coefficients_are_refused(values: np.ndarray, asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        performed(coefficients=values, **asked)


def test_a_loop_settles_anyway() -> None:
    np.testing.assert_array_equal(performed(idle=4.0, settle=1.5)[0], performed(idle=4.0)[0])


def test_the_renderer_s_windows_go_around_a_loop() -> None:
    parts, models = rendered(idle=1.0)
    assert [part.frames_done for part in parts] == [5, 10, 15, 20, 25]
    seen = np.array([window[:, windows.RADIUS] for window in models.windows[:25]])
    for frame, window in enumerate(models.windows[:25]):
        around = np.arange(frame - windows.RADIUS, frame + windows.RADIUS + 1) % 25
        np.testing.assert_array_equal(window, seen[around].T)
    assert [tuple(asked["frames"]) for asked in models.speech] == [(12, 25), (0, 25)]


def test_what_a_loop_does_before_its_first_frame_does_not_grow_with_it() -> None:
    models = Models()

    async def run() -> None:
        animator = animation.Animator(models.call, _any, Observer(), decoders(), 256, 600, 3, 4)
        async with aclosing(animator.animate(b"portrait", None, options.Options(idle=120.0))) as parts:
            assert (await anext(parts)).frames_total == 3000

    asyncio.run(run())
    assert [tuple(asked["frames"]) for asked in models.speech] == [(2987, 3000), (0, 27), (27, 59)]


def test_the_size_is_what_the_server_renders() -> None:
    rendered(SPEECH, size=256)
    with pytest.raises(InputError, match=r"^size: expected 256, which this server renders, got 512$"):
        rendered(SPEECH, size=512)


def sound_of(parts: list) -> tuple[np.ndarray, int]:
    """Return the sound of a video, and the number of its frames."""
    file = b"".join(part.video for part in parts)
    with av.open(io.BytesIO(file)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    with av.open(io.BytesIO(file)) as container:
        return np.concatenate(blocks, axis=1), sum(1 for _ in container.decode(video=0))


def test_a_driving_video_is_heard_unless_there_is_speech() -> None:
    def loudness(data: bytes, audio: bytes | None = None) -> float:
        sound, frames = sound_of(rendered(audio, driving=data)[0])
        assert frames == 30  # as the driving video, whatever the speech
        assert sound.shape[1] == pytest.approx(30 * 1920, abs=1024)
        return float(np.sqrt((sound[:, 9600:38400] ** 2).mean()))

    assert loudness(FACE) < 1e-3
    assert loudness(film(grey(LEVELS), sound=tone(48_000, 1.2, amplitude=0.1))) == pytest.approx(0.07, rel=0.2)
    loud = recording(tone(16_000, 5, amplitude=0.9), 16_000)
    assert loudness(film(grey(LEVELS), sound=tone(48_000, 1.2, amplitude=0.1)), loud) == pytest.approx(0.64, rel=0.2)


def test_a_loop_is_silent() -> None:
    sound, frames = sound_of(rendered(idle=1.2)[0])
    assert frames == 30
    assert np.abs(sound).max() < 1e-3


@pytest.mark.parametrize(
    "asked", [{}, {"audio": SPEECH}, {"driving": FACE}, {"idle": 30.0}], ids=lambda asked: str(*asked)
)
def test_a_poster_is_the_first_frame_alone(asked: dict) -> None:
    [part], models = rendered(**asked, poster=True)
    assert (part.frames_done, part.frames_total, part.last) == (1, 1, True)
    with Image.open(io.BytesIO(part.video)) as picture:
        assert picture.format == "PNG"
        assert picture.size == (192, 256)  # as players show it: this portrait's pixels are oblong
        assert picture.getpixel((9, 9)) == (100, 100, 100)
    assert models.asked["render_frames"] <= 3


def test_a_poster_of_the_whole_picture_shows_it() -> None:
    [part], _ = rendered(idle=2.0, crop="full", poster=True)
    with Image.open(io.BytesIO(part.video)) as picture:
        assert picture.size == (300, 300)
        assert picture.getpixel((290, 290)) == (7, 7, 7)  # beyond the face


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "audio: expected a recording, or driving or idle instead, got none of them"),
        (
            {"audio": SPEECH, "idle": 3.0},
            "idle: expected without audio, which says itself how long it is, got 3 s and audio",
        ),
        ({"idle": 61.0}, "idle: expected at most 60 seconds, got 61"),
        ({"idle": 0.5}, "idle: expected seconds from 1 on, got 0.5"),
        ({"idle": float("nan")}, "idle: expected seconds from 1 on, got nan"),
        ({"driving": FACE, "idle": 3.0}, "driving: expected without idle, got both"),
        ({"driving": FACE, "pose_reference": FACE}, "driving: expected without pose_reference, got both"),
        ({"driving": FACE, "blink_times": np.float32([1])}, "driving: expected without blink_times, got both"),
        ({"audio": SPEECH, "pose_reference": b"hello"}, "pose_reference: expected a video that FFmpeg can read, .*"),
        ({"audio": SPEECH, "blink_reference": SPEECH}, "blink_reference: expected a file with a video stream, .*"),
        ({"audio": SPEECH, "blink_reference": FACE, "blink_rate": 3.0}, "blink: expected at most one of .*"),
        ({"audio": b"hello", "driving": FACE}, "audio: expected a recording that FFmpeg can read, .*"),
    ],
)
def test_contradictions_and_bad_files_are_refused(asked: dict, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        performed(**asked)


def test_a_face_that_is_missing_fails_the_video() -> None:
    class Faceless(Models):
        def portrait_crop(self, image: np.ndarray) -> dict[str, np.ndarray]:
            raise CallError("INVALID_ARGUMENT: image: expected a frontal face, got none")

    async def run() -> None:
        animator = animation.Animator(Faceless().call, _any, Observer(), decoders(), 256, 60, 3, 4)
        with pytest.raises(InputError, match=r"^driving: expected a frontal face, got a video without one"):
            [part async for part in animator.animate(b"portrait", None, options.Options(driving=FACE))]
        assert not asyncio.all_tasks() - {asyncio.current_task()}

    asyncio.run(run())


@pytest.mark.parametrize("frames", [25, 26, 51, 500])
def test_ends_of_a_loop_meet_softly(frames: int) -> None:
    away = performances.settled(0, frames, frames, 25)[:, 0]
    around = np.concatenate([away, away])
    assert away[0] == 0
    assert away.max() == pytest.approx(1, abs=0.01)
    assert max(abs(b - a) for a, b in pairwise(around)) < 0.13
    np.testing.assert_array_equal(performances.settled(7, 20, frames, 25)[:, 0], away[7:20])

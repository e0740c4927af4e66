"""Several photos of one person: what is taken from which, and what is asked of the other models for it."""

import asyncio
from functools import partial

import numpy as np
import pytest
from decoding import decoders
from recordings import recording, tone
from sadtalker_runtime.animation import animator as animation
from sadtalker_runtime.animation.photos import GRID, Shares, joined, shares
from sadtalker_runtime.errors import REFUSED, CallError, InputError
from sadtalker_runtime.options import Options
from test_animation import Models, Observer

LEFT_EYE, RIGHT_EYE = 1, 2
OPEN = np.zeros((15, 3), np.float32)
OPEN[:, :2] = np.stack(np.meshgrid(np.linspace(-0.4, 0.4, 5), np.linspace(-0.4, 0.4, 3)), -1).reshape(15, 2)
CLOSED = OPEN.copy()
CLOSED[[LEFT_EYE, RIGHT_EYE], 1] += 0.11
EYE = round((OPEN[LEFT_EYE, 1] + 1) / 2 * (GRID - 1)), round((OPEN[LEFT_EYE, 0] + 1) / 2 * (GRID - 1))


def _share(*sources: np.ndarray, driving: np.ndarray) -> np.ndarray:
    return shares(np.stack(sources), driving[None]).photos[0]


def test_a_closing_eye_is_taken_from_the_photo_with_closed_eyes_and_the_background_never() -> None:
    first, second = _share(OPEN, CLOSED, driving=CLOSED)
    np.testing.assert_allclose(first + second, 1, atol=1e-6)
    assert second[EYE] > 0.9
    assert second[0, 0] == second[-1, -1] == 0
    first, second = _share(OPEN, CLOSED, driving=OPEN)
    assert second[EYE] == 0


def test_wherever_the_head_is_its_shape_decides() -> None:
    moved = _share(OPEN + np.float32(0.2), CLOSED, driving=CLOSED)
    np.testing.assert_allclose(moved, _share(OPEN, CLOSED, driving=CLOSED), atol=1e-5)


def test_shares_change_as_smoothly_as_the_face() -> None:
    steps = np.linspace(0, 1, 60, dtype=np.float32)[:, None, None]
    parts = shares(np.stack([OPEN, CLOSED]), OPEN + steps * (CLOSED - OPEN)).photos
    assert np.ptp(parts[:, 1], axis=0).max() > 0.9
    assert np.abs(np.diff(parts, axis=0)).max() < 0.15


def test_equal_photos_leave_the_first_one() -> None:
    everywhere = shares(np.stack([OPEN, OPEN, CLOSED]), OPEN[None])
    assert everywhere.needed == [0]
    assert (everywhere.photos[:, 0] == 1).all()


def test_a_joined_frame_is_the_first_rendering_where_it_has_all_the_share() -> None:
    random = np.random.default_rng(0)
    first, second = random.integers(0, 256, (2, 1, 64, 64, 3), np.uint8)
    parts = np.zeros((1, 2, GRID, GRID), np.float32)
    parts[:, 0], parts[:, 1, :, 40:] = 1, 1
    parts[:, 0, :, 40:] = 0
    frames = joined([first, second], Shares(parts, np.ones((1, GRID, GRID), np.float32)))
    np.testing.assert_array_equal(frames[:, :, :39], first[:, :, :39])
    assert np.abs(frames[:, :, 41:].astype(int) - second[:, :, 41:]).mean() < 3


def test_a_photo_s_colours_are_matched_with_the_first_one_s() -> None:
    random = np.random.default_rng(0)
    first = random.integers(60, 180, (1, 64, 64, 3), np.uint8)
    darker = (first * 0.8).astype(np.uint8)
    half = np.full((1, 2, GRID, GRID), 0.5, np.float32)
    frames = joined([first, darker], Shares(half, np.ones((1, GRID, GRID), np.float32)))
    assert np.abs(frames.astype(int) - first).max() <= 2


class PhotoModels(Models):
    """Models for pictures named after the face they show; speech closes the eyes."""

    def encode_portrait(self, image, crop, face_index):
        name = image.item()
        if name == b"nobody":
            raise CallError(f"{REFUSED}image: expected a face, found none")
        made = super().encode_portrait(image, crop, face_index)
        made["canonical_keypoints"] = (CLOSED if name == b"closed" else OPEN)[None]
        made["appearance"] = np.full((1, 32, 16, 64, 64), len(name), np.float32)
        return made

    def motion(self, canonical_keypoints, coefficient_windows, head_angles):
        portrait = np.ptp(coefficient_windows, axis=-1).max() == 0
        keypoints = canonical_keypoints if portrait else CLOSED[None]
        return {"keypoints": np.tile(keypoints[:, None], (1, 5, 1, 1))}

    motion_full = motion

    def render_frames(self, appearance, **inputs):
        return {"frames": np.full((1, 5, 256, 256, 3), 10 * appearance.flat[0], np.uint8)}

    render_frames_full = render_frames


async def _video(models: Models, seconds: float = 0.4, image: bytes = b"open", **asked: object) -> list:
    speech = recording(tone(16_000, seconds), 16_000)
    animator = animation.Animator(models.call, partial(hasattr, models), Observer(), decoders(), 256, 600, 3, 8)
    return [part async for part in animator.animate(image, speech, Options(**asked))]


def test_only_the_photos_that_a_chunk_needs_are_rendered_at_the_first_one_s_keypoints() -> None:
    models = PhotoModels()
    parts = asyncio.run(_video(models, photos=(b"closed", b"open2")))
    assert parts[-1].frames_done == 10
    assert [asked["image"].item() for asked in models.asked("encode_portrait")] == [b"open", b"closed", b"open2"]
    rendered = models.asked("render_frames")
    assert [asked["appearance"].flat[0] for asked in rendered] == [len(b"open"), len(b"closed")] * 2
    for asked in rendered:
        np.testing.assert_array_equal(asked["canonical_keypoints"][0], OPEN)
    np.testing.assert_array_equal(rendered[1]["source_keypoints"][0], CLOSED)


def test_the_same_photo_twice_is_encoded_once_and_changes_nothing() -> None:
    models = PhotoModels()
    twice = asyncio.run(_video(models, photos=(b"open",)))
    assert len(models.asked("encode_portrait")) == 1
    assert b"".join(part.video for part in twice) == b"".join(part.video for part in asyncio.run(_video(models)))


def test_one_portrait_asks_for_no_keypoints_of_frames() -> None:
    models = PhotoModels()
    asyncio.run(_video(models))
    assert len(models.asked("motion")) == 1  # the portrait's own


def test_an_error_says_which_photo_cannot_be_used() -> None:
    with pytest.raises(InputError, match=r"^photo 3: image: expected a face, found none$"):
        asyncio.run(_video(PhotoModels(), photos=(b"closed", b"nobody")))

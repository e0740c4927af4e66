"""Frames that are calmed at their border before they are blended: nothing that moved there colours the face."""

import numpy as np
import pytest
from sadtalker_runtime.blending import border
from sadtalker_runtime.blending.poisson import SeamlessRectangle
from sadtalker_runtime.blending.scene import Scene
from test_poisson import noisy, smooth

LEFT, TOP, RIGHT, BOTTOM = RECTANGLE = 60, 30, 280, 240
INSIDE = slice(TOP, BOTTOM), slice(LEFT, RIGHT)
INNER = slice(26, -26), slice(27, -27)  # of a frame: all but a border a little wider than the one that fades
RED, SHIFT = np.array([90, -70, -70]), np.array([25, -20, 12])


@pytest.fixture
def picture() -> np.ndarray:
    return smooth(np.random.default_rng(0), 300, 340) // 4 + 96


def moved(frame: np.ndarray) -> np.ndarray:
    """Return the frame with a tie on its lower edge that is not in the picture."""
    result = frame.copy()
    result[-14:, 90:150] += RED.astype(np.uint8)  # as bytes wrap, this subtracts, too
    return result


def calmed(beneath: np.ndarray, *frames: np.ndarray) -> np.ndarray:
    result = np.stack(frames)
    border.CalmBorder(beneath).calm(result)
    return result


def test_what_moves_at_the_border_does_not_colour_the_face(picture: np.ndarray) -> None:
    beneath = picture[INSIDE]
    frames = np.stack([beneath, moved(beneath)])
    shown = Scene(picture, RECTANGLE).with_frames(frames, picture.copy())
    still, moving = (canvas[INSIDE].astype(int) for canvas in shown)
    assert (still == beneath).all()
    assert np.abs(moving - beneath)[INNER].max() <= 2
    SeamlessRectangle(picture, TOP, LEFT, BOTTOM - TOP, RIGHT - LEFT).blend(frames)
    assert np.abs(frames[1].astype(int) - beneath)[INNER].max() > 30, "what blending alone makes of it"


def test_a_colour_cast_goes_nevertheless(picture: np.ndarray) -> None:
    frame = moved(picture[INSIDE] + SHIFT.astype(np.uint8))
    [shown] = Scene(picture, RECTANGLE).with_frames(frame[None], picture.copy())
    shown = shown.astype(int)
    assert np.abs(shown - picture)[INSIDE][INNER].max() <= 2
    shown[INSIDE] = picture[INSIDE]
    np.testing.assert_array_equal(shown, picture)


def test_small_differences_are_left_to_blending(picture: np.ndarray) -> None:
    beneath, random = picture[INSIDE], np.random.default_rng(1)
    difference = SHIFT + random.integers(-border.TOLERANCE, border.TOLERANCE, beneath.shape, endpoint=True)
    difference[4] = difference[-5] = difference[:, 4] = difference[:, -5] = SHIFT  # the lines that are looked at
    frame = (beneath + difference).astype(np.uint8)
    np.testing.assert_array_equal(calmed(beneath, frame)[0], frame - SHIFT)


def test_a_frame_fades_into_the_picture(picture: np.ndarray) -> None:
    beneath = picture[INSIDE] // 2
    frame = beneath + 100
    frame[4], frame[-5], frame[:, 4], frame[:, -5] = (beneath[line] for line in (4, -5, np.s_[:, 4], np.s_[:, -5]))
    left = calmed(beneath, frame)[0].astype(int) - beneath
    assert (left[INNER] == 100).all() and (left[:4, 5:-5] == border.TOLERANCE).all()
    across = left[100, 5:110, 0]
    assert (np.diff(across) >= 0).all() and np.diff(across).max() <= 10, "smoothly"


def test_each_frame_is_on_its_own() -> None:
    random = np.random.default_rng(2)
    beneath, *frames = (noisy(random, 97, 130) for _ in range(6))
    together = calmed(beneath, *frames)
    np.testing.assert_array_equal(together, np.concatenate([calmed(beneath, frame) for frame in frames]))


@pytest.mark.parametrize("size", [(5, 5), (9, 30), (10, 11), (44, 13)])
def test_the_smallest_rectangles(size: tuple[int, int]) -> None:
    beneath, frame = (noisy(np.random.default_rng(3), *size) for _ in range(2))
    np.testing.assert_array_equal(calmed(beneath, beneath)[0], beneath)
    assert calmed(beneath, frame).shape == (1, *size, 3)

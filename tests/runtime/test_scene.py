"""A face in its picture: blended where it moves, the very same pixels around it."""

import cv2
import numpy as np
import pytest
from sadtalker_runtime.blending.scene import Scene

RANDOM = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(RANDOM.integers(0, 256, (260, 340, 3), np.uint8), (0, 0), 4)
FRAMES = cv2.GaussianBlur(RANDOM.integers(0, 256, (256, 256, 15), np.uint8), (0, 0), 6)
FRAMES = np.ascontiguousarray(FRAMES.reshape(256, 256, 5, 3).transpose(2, 0, 1, 3))
RECTANGLES = [(40, 20, 200, 190), (0, 0, 340, 260), (300, 220, 340, 260), (10, 30, 40, 66)]


def shown_with(frames: np.ndarray, scene: Scene) -> np.ndarray:  # type: ignore[valid-type]
    return np.stack([shown.copy() for shown in scene.with_frames(frames, scene.canvas())])  # type: ignore[attr-defined]


@pytest.mark.parametrize("rectangle", RECTANGLES)
def test_pixels_around_the_rectangle_are_the_picture_s(rectangle: tuple[int, int, int, int]) -> None:
    scene = Scene(PICTURE, rectangle)
    assert scene.size == (340, 260)
    before = PICTURE.copy()
    shown = shown_with(FRAMES, scene)
    assert shown.shape == (5, 260, 340, 3) and shown.dtype == np.uint8
    left, top, right, bottom = rectangle
    around = np.ones((260, 340), bool)
    around[top + 2 : bottom - 2, left + 2 : right - 2] = False
    assert (shown[:, around] == PICTURE[around]).all()
    inside = shown[:, top + 6 : bottom - 6, left + 6 : right - 6].astype(int)
    assert np.abs(np.diff(inside, axis=0)).mean() > 1, "frames differ"
    np.testing.assert_array_equal(PICTURE, before)
    np.testing.assert_array_equal(shown_with(FRAMES, scene), shown)


@pytest.mark.parametrize("side", [43, 44])
def test_a_rectangle_that_is_too_small_for_the_fast_blend_looks_the_same(side: int) -> None:
    rectangle = 60, 50, 60 + side, 50 + side
    bright = cv2.resize(PICTURE[50 : 50 + side, 60 : 60 + side] + 30, (256, 256), interpolation=cv2.INTER_CUBIC)
    bright[64:192, 64:192] = FRAMES[0, 64:192, 64:192]
    [shown] = shown_with(bright[None], Scene(PICTURE, rectangle)).astype(int)
    frame = cv2.resize(bright, (side, side), interpolation=cv2.INTER_AREA)
    centre = (2 * 60 + side) // 2, (2 * 50 + side) // 2
    expected = cv2.seamlessClone(frame, PICTURE, np.full_like(frame, 255), centre, cv2.NORMAL_CLONE)
    assert np.abs(shown - expected).max() <= 2
    assert np.abs(shown - PICTURE).max() > 10, "the middle shows the frame"


def test_no_seam_at_the_border() -> None:
    """A frame that is the picture in other light comes out as the picture."""
    left, top, right, bottom = rectangle = 40, 20, 296, 252
    frame = np.ascontiguousarray(PICTURE[top:bottom, left:right] // 2 + 60)
    frame = cv2.resize(frame, (512, 512), interpolation=cv2.INTER_CUBIC)
    [shown] = shown_with(frame[None], Scene(PICTURE // 2 + 20, rectangle))
    assert np.abs(shown.astype(int) - (PICTURE // 2 + 20)).max() < 12

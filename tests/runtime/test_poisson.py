"""Blending frames into a picture, against OpenCV's seamless cloning."""

import cv2
import numpy as np
import pytest
from sadtalker_runtime.blending.poisson import SeamlessRectangle

TOP, LEFT = 31, 22


def blended(picture: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return frames [F, height, width, 3] in a rectangle at (LEFT, TOP), as it looks then."""
    result = frames.copy()
    SeamlessRectangle(picture, TOP, LEFT, *frames.shape[1:3]).blend(result)
    return result


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def smooth(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def noisy(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def chequered(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return black and white fields: the steepest borders there are."""
    row, column = np.ogrid[:height, :width]
    fields = (row // 37 + column // 29 + random.integers(2)) % 2
    return np.repeat(np.uint8(255) * fields.astype(np.uint8)[..., None], 3, 2)


def cloned(picture: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Blend as SadTalker does it, cut to the rectangle."""
    height, width = frame.shape[:2]
    centre = (2 * LEFT + width) // 2, (2 * TOP + height) // 2
    whole = cv2.seamlessClone(frame, picture, np.full_like(frame, 255), centre, cv2.NORMAL_CLONE)
    return whole[TOP : TOP + height, LEFT : LEFT + width]


SIZES = [(44, 44), (45, 60), (44, 251), (333, 46), (97, 130), (256, 256), (301, 222)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [smooth, noisy, chequered])
def test_is_opencv_s_seamless_clone(random: np.random.Generator, size: tuple[int, int], kind: object) -> None:
    picture, frames = kind(random, 380, 300), np.stack([kind(random, *size) for _ in range(2)])  # type: ignore[operator]
    for frame, mine in zip(frames, blended(picture, frames), strict=True):
        assert np.abs(mine.astype(int) - cloned(picture, frame)).max() <= 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [smooth, noisy, chequered])
@pytest.mark.parametrize("most", [8, 9])
def test_is_it_where_little_differs(
    random: np.random.Generator, size: tuple[int, int], kind: object, most: int
) -> None:
    """As after a border was calmed: then fewer waves are summed up."""
    picture = smooth(random, 380, 300) // 2 + 64
    difference = np.rint(kind(random, *size) * (2 * most / 255) - most).astype(int)  # type: ignore[operator]
    assert np.abs(difference).max() == most
    frame = (picture[TOP : TOP + size[0], LEFT : LEFT + size[1]] + difference).astype(np.uint8)
    [mine] = blended(picture, frame[None])
    assert np.abs(mine.astype(int) - cloned(picture, frame)).max() <= 2


def test_the_edge_stays_the_picture_s(random: np.random.Generator) -> None:
    picture, frame = noisy(random, 200, 200), noisy(random, 80, 90)
    result = blended(picture, frame[None])[0]
    beneath = picture[TOP : TOP + 80, LEFT : LEFT + 90]
    edge = np.ones((80, 90), bool)
    edge[2:-2, 2:-2] = False
    assert (result[edge] == beneath[edge]).all()
    assert (result[~edge] != beneath[~edge]).mean() > 0.5


def test_the_picture_itself_comes_out_of_any_brightness_of_it(random: np.random.Generator) -> None:
    picture = smooth(random, 200, 220) // 2 + 64
    beneath = picture[TOP : TOP + 120, LEFT : LEFT + 110]
    same, brighter, darker = blended(picture, np.stack([beneath, beneath + 50, beneath - 50])).astype(int)
    assert (same == beneath).all()
    assert np.abs(brighter - beneath).max() <= 1 and np.abs(darker - beneath).max() <= 1


def test_frames_of_a_chunk_do_not_see_each_other(random: np.random.Generator) -> None:
    picture, frames = smooth(random, 200, 200), np.stack([smooth(random, 100, 90) for _ in range(5)])
    together, alone = blended(picture, frames), np.concatenate([blended(picture, frame[None]) for frame in frames])
    assert np.abs(together.astype(int) - alone).max() <= 1
    assert (blended(picture, frames) == together).all()


@pytest.mark.parametrize("rectangle", [(-1, 0, 60, 60), (0, 0, 101, 60), (0, 41, 60, 60)])
def test_a_rectangle_outside_of_the_picture_is_refused(rectangle: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"expected a rectangle inside the picture of 100 x 100 pixels, got 60 x"):
        SeamlessRectangle(np.zeros((100, 100, 3), np.uint8), *rectangle)


def test_a_rectangle_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 44 pixels each way, got 60 x 43"):
        SeamlessRectangle(np.zeros((100, 100, 3), np.uint8), 0, 0, 43, 60)

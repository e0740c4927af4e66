"""The drawing of keypoints: its net, its axes, its bars, and what it needs of the server."""

import numpy as np
import pytest
from sadtalker_runtime.animation.preview import GROUND, NET, _net, drawn, rotation

RANDOM = np.random.default_rng(0)
SOURCE = RANDOM.uniform(-0.6, 0.5, (15, 3)).astype(np.float32)
REST = np.zeros((1, 64), np.float32)


def turn(degrees: float) -> np.ndarray:
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)


@pytest.mark.parametrize("degrees", [-170, -20, 0, 20, 90])
def test_the_turn_of_the_keypoints_is_found(degrees: float) -> None:
    moved = SOURCE @ turn(degrees).T + np.float32([0.2, -0.1, 0.3])
    np.testing.assert_allclose(rotation(SOURCE, moved), turn(degrees), atol=1e-5)


def test_a_turn_is_never_a_mirror_image() -> None:
    assert np.linalg.det(rotation(SOURCE, SOURCE * np.float32([-1, 1, 1]))) == pytest.approx(1)


def test_a_square_has_four_sides_and_a_diagonal_and_equal_points_no_net() -> None:
    square = np.float32([[0, 0], [1, 0], [1, 1], [0, 1.1]])
    edges = _net(square)
    assert {(0, 1), (1, 2), (2, 3), (0, 3)} < set(edges) and len(edges) == 5
    assert _net(np.ones((15, 2), np.float32)) == []


def test_keypoints_are_where_they_are_and_move() -> None:
    still, moved = drawn(SOURCE, np.stack([SOURCE, SOURCE + np.float32([0.3, 0, 0])]), REST.repeat(2, 0), 256)
    assert still.shape == (256, 256, 3) and still.dtype == np.uint8
    for point in SOURCE[:, :2]:
        x, y = np.rint((point + 1) / 2 * 255).astype(int)
        assert still[y, x].max() > 200  # a strong colour
    shift = [np.argwhere(frame.max(-1) > 200)[:, 1].mean() for frame in (still, moved)]
    assert shift[1] - shift[0] == pytest.approx(0.3 * 127.5, abs=4)


def test_bars_rise_and_fall_with_the_expression() -> None:
    values = np.zeros((1, 64), np.float32)
    values[0, 10], values[0, 20], values[0, 30] = 1.0, -1.0, 50.0
    [frame] = drawn(SOURCE - np.float32([0, 0.4, 0]), SOURCE[None] - np.float32([0, 0.4, 0]), values, 256)
    up, down, full = (int((frame[205:, 4 * i] == NET).all(-1).sum()) for i in (10, 20, 30))
    assert (up, down, full) == (14, 14, 26)  # half of a fifth of the picture is 25.6 pixels
    assert (frame[228, 4 * 10] == NET).all() and (frame[232, 4 * 10] == GROUND).all()


def test_points_beyond_the_picture_and_not_moving_ones_can_be_drawn() -> None:
    assert drawn(np.ones((15, 3), np.float32), np.full((2, 15, 3), 9, np.float32), REST.repeat(2, 0), 64).shape[0] == 2

"""Motion that a caller may prescribe frame by frame: blinks and head angles."""

import numpy as np
import pytest
from sadtalker_runtime.animation import head_angles
from sadtalker_runtime.speech import blinks


def test_blinks_close_and_open_the_eyes_at_random_gaps() -> None:
    curve = blinks.blink_curve(2000, seed=1)
    starts = np.flatnonzero((curve[1:] > 0) & (curve[:-1] == 0)) + 1
    assert len(starts) > 2000 / 75
    for start in starts:
        np.testing.assert_array_equal(curve[start : start + 5], np.float32([0.5, 0.9, 1, 0.9, 0.5]))
    gaps = np.diff(starts) - 5
    assert gaps.min() >= 10
    assert gaps.max() < 70
    assert len(set(gaps)) > 10
    assert (blinks.blink_curve(2000, seed=1) == curve).all()
    assert (blinks.blink_curve(2000, seed=2) != curve).any()


@pytest.mark.parametrize("frames", [1, 5, 20, 21])
def test_short_clips_have_no_blinks(frames: int) -> None:
    assert not blinks.blink_curve(frames, seed=0).any()


def test_blinks_end_before_the_clip_does() -> None:
    for frames in range(22, 120):
        curve = blinks.blink_curve(frames, seed=frames)
        assert len(curve) == frames
        assert curve[-1] == 0
        assert curve.sum() == pytest.approx(3.8 * np.count_nonzero(curve == 1), abs=1e-4)


def test_blinks_do_not_depend_on_what_comes_after_them() -> None:
    whole = blinks.blink_curve(500, seed=5)
    for frames in range(22, 500):
        curve = blinks.blink_curve(frames, seed=5)
        np.testing.assert_array_equal(curve[: frames - 5], whole[: frames - 5])


@pytest.mark.parametrize("per_minute", [4, 17.5, 60, 120])
def test_blinks_come_at_the_rate_asked_for(per_minute: float) -> None:
    curve = blinks.blink_curve_at_rate(60_000, per_minute, seed=3)
    assert np.count_nonzero(curve == 1) == pytest.approx(40 * per_minute, rel=0.1)
    gaps = np.diff(np.flatnonzero(curve == 1))
    assert len(set(gaps)) > 3
    assert (blinks.blink_curve_at_rate(60_000, per_minute, seed=3) == curve).all()
    assert (blinks.blink_curve_at_rate(60_000, per_minute, seed=4) != curve).any()


def test_no_blinks_per_minute_are_none() -> None:
    assert not blinks.blink_curve_at_rate(1000, 0, seed=0).any()


def test_blinks_come_at_the_times_asked_for() -> None:
    curve = blinks.blink_curve_at_times(50, [0, 0.48, 1.92, 7.0])
    expected = np.zeros(50, np.float32)
    expected[:5] = expected[12:17] = [0.5, 0.9, 1, 0.9, 0.5]
    expected[48:] = [0.5, 0.9]  # the clip ends within it
    np.testing.assert_array_equal(curve, expected)
    overlapping = blinks.blink_curve_at_times(10, [0.0, 0.08])
    np.testing.assert_array_equal(overlapping[:7], np.float32([0.5, 0.9, 1, 0.9, 1, 0.9, 0.5]))
    assert not blinks.blink_curve_at_times(10, []).any()


def test_a_curve_goes_through_its_key_frames_and_not_beyond_them() -> None:
    keys = np.float32([(0.4, 0), (1, 20), (2, -10)])
    curve = head_angles.angle_curve(keys, 75, loops=False)
    assert curve.dtype == np.float32
    np.testing.assert_allclose(curve[[10, 25, 50]], [0, 20, -10], atol=1e-5)
    assert (curve[:10] == 0).all()
    assert (curve[50:] == -10).all()
    assert (np.diff(curve[10:26]) >= 0).all()
    assert (np.diff(curve[25:51]) <= 0).all()
    assert np.abs(np.diff(curve, 2)).max() < 1  # degrees: no kinks


def test_one_key_frame_is_a_constant_and_none_leave_the_angle_free() -> None:
    assert (head_angles.angle_curve(np.float32([(3, 7)]), 10, loops=False) == 7).all()
    curves = head_angles.angle_curves((None, np.float32([(0, 7)]), None), 10, loops=False)
    assert curves.shape == (10, 3)
    assert (curves[:, 1] == 7).all()
    assert (curves[:, [0, 2]] > 180).all()


@pytest.mark.parametrize("keys", [[(0, 0), (1, 20), (2, -10)], [(0.5, 5), (9, 80)], [(7, 5)]])
def test_the_curve_of_a_loop_leads_back_to_its_beginning(keys: list) -> None:
    curve = head_angles.angle_curve(np.float32(keys), 75, loops=True)
    twice = np.concatenate([curve, curve])
    assert np.abs(np.diff(twice, 2)).max() < 1  # degrees: no jump and no kink anywhere
    for seconds, degrees in keys:
        if seconds < 3:
            assert curve[round(seconds * 25)] == pytest.approx(degrees, abs=0.2)

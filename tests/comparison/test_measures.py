"""Measures against known truth: procedural faces whose jaw, lids and head move as told, and altered pictures."""

import wave
from pathlib import Path

import cv2
import numpy as np
import pytest
from sadtalker_compare.errors import ComparisonError
from sadtalker_compare.measures import credibility, visual
from sadtalker_compare.measures.face import FaceTrack, track_face
from sadtalker_compare.measures.video import loudness, read_speech, read_video
from sadtalker_training.coefficients import BLINK, JAW, Pose
from sadtalker_training.faces.person import Person

RATE, FRAMES = 25.0, 60
SEED = 500_000_000  # of a face that the cascade finds
BLINKS = (15, 40)  # frames at which the lids are shut, and the two after them


def jaw() -> np.ndarray:
    noise = np.random.default_rng(0).random(FRAMES + 4) - 0.3
    return np.clip(2 * np.convolve(noise, np.full(5, 0.2), "valid"), 0, 1)


def shown(seed: int, jaw: float, lids: float, yaw: float) -> np.ndarray:
    blendshapes = np.zeros(7, np.float32)
    blendshapes[[JAW, BLINK]] = jaw, lids
    picture = Person(seed).view(blendshapes, Pose(yaw=yaw)).picture
    return np.pad(picture, ((80, 80), (80, 80), (0, 0)), mode="edge")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Return a talking, blinking, turning face."""
    lids = {first + after: 1.0 for first in BLINKS for after in range(3)}
    return [shown(SEED, value, lids.get(t, 0.0), 0.1 * np.sin(t / 9)) for t, value in enumerate(jaw())]


@pytest.fixture(scope="module")
def track(frames) -> FaceTrack:
    return track_face(frames)


def test_the_mouth_opens_as_the_jaw_does(track):
    assert np.corrcoef(track.opening, jaw())[0, 1] > 0.97


def test_blinks_are_counted(track):
    assert credibility.blinks(credibility.eye_likeness(track), RATE) == len(BLINKS)


def test_closed_eyes_that_stay_closed_are_no_blink():
    likeness = np.ones(100)
    likeness[30:60] = 0.3
    assert credibility.blinks(likeness, RATE) == 0
    likeness[80:83] = 0.3
    assert credibility.blinks(likeness, RATE) == 1


@pytest.mark.parametrize(("count", "expected"), [(0, 10.0), (2, 0.0), (3, 0.0), (6, 11.0)])
def test_blink_rates_of_people_are_no_deviation(count, expected):
    assert credibility.blink_deviation(count, 10.0) == expected


def test_the_head_s_motion_is_that_of_its_yaw(track):
    assert 1 < credibility.head_motion(track) < credibility.MOST_MOTION
    assert np.corrcoef(track.position[:, 0], np.sin(np.arange(FRAMES) / 9))[0, 1] ** 2 > 0.9


def test_the_same_person_is_more_alike_than_others(track, frames):
    own = credibility.identity(track, frames[0])
    others = [credibility.identity(track, shown(SEED + other, 0.0, 0.0, 0.0)) for other in (3, 11)]
    assert own > 0.95
    assert max(others) < own - 0.1


@pytest.mark.parametrize("late", [-3, 0, 4])
def test_the_lag_of_the_mouth_is_found(late):
    loud = np.convolve(np.random.default_rng(1).random(100), np.full(3, 1 / 3), "same")
    correlation, lag = credibility.lip_sync(np.roll(loud, late), loud, RATE)
    assert correlation > 0.99
    assert lag == late * 40


def test_a_mouth_that_stands_still_is_in_step_with_nothing():
    assert credibility.lip_sync(np.zeros(50), np.random.default_rng(2).random(50), RATE)[0] == 0


def test_blur_costs_sharpness(track, frames):
    blurred = track_face([cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames[:5]])
    assert visual.sharpness(track, frames[0]) > 0.8
    assert visual.sharpness(blurred, frames[0]) < 0.3


def test_flicker_is_change_without_motion(frames):
    rng = np.random.default_rng(3)
    noisy = [np.clip(frame + rng.normal(0, 8, frame.shape), 0, 255).astype(np.uint8) for frame in frames[:20]]
    assert visual.flicker(noisy) > 3 * visual.flicker(frames[:20])


def test_a_moving_rectangle_in_a_still_picture_is_a_seam():
    texture = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 255, (300, 300, 3), np.uint8), (0, 0), 2)
    moving = [np.roll(texture, 2 * t, axis=1) for t in range(6)]
    pasted = [texture.copy() for _ in moving]
    for still, frame in zip(pasted, moving, strict=True):
        still[60:240, 60:240] = frame[60:240, 60:240]
    assert visual.seams(pasted) > 2 * visual.seams(moving)


def test_loudness_is_the_level_of_each_frame(tmp_path):
    path = tmp_path / "tone.wav"
    tone = np.sin(np.arange(48_000) * 0.2) * np.repeat([0.0, 0.5, 0.1], 16_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((tone * 32767).astype("<i2").tobytes())
    level = loudness(read_speech(path), RATE, 25)
    assert level[4] < 0.001
    assert level[12] == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert level[20] == pytest.approx(0.1 / np.sqrt(2), rel=0.02)
    assert len(loudness(read_speech(path), RATE, 100)) == 100  # a video that outlasts its speech


@pytest.mark.parametrize("read", [read_video, read_speech])
def test_what_is_no_recording_is_refused_by_name(read, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    for path in (text, tmp_path / "missing.mp4"):
        with pytest.raises(ComparisonError, match=path.name):
            read(Path(path))


def test_a_video_without_a_face_is_refused():
    with pytest.raises(ComparisonError, match="expected a frontal face"):
        track_face([np.full((200, 200, 3), 127, np.uint8)] * 2)

"""The faces that the demo is trained on: seeded, and exact about their own geometry."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from sadtalker_export.networks import motion
from sadtalker_training.coefficients import (
    BLENDSHAPES,
    BLINK,
    HIGHEST,
    JAW,
    KEYPOINTS,
    LOWEST,
    Pose,
    frame_coefficients,
    move_keypoints,
    random_blendshapes,
    random_pose,
)
from sadtalker_training.faces.episodes import DRIVEN, episode
from sadtalker_training.faces.painting import fallen_leaves
from sadtalker_training.faces.person import SIZE, Person, View
from sadtalker_training.faces.shape import GRID_X, GRID_Y, Branch, FaceShape
from sadtalker_training.tasks.renderer import move_keypoints as move_keypoints_of_networks

REST = np.zeros(len(BLENDSHAPES), np.float32)
LEFT, OPEN = Pose(yaw=-0.2), REST.copy()
OPEN[JAW] = 1


@pytest.fixture(scope="module")
def person() -> Person:
    return Person(11)


def test_an_episode_is_a_function_of_its_seed() -> None:
    first, again, other = episode(3), episode(3), episode(4)
    for field in dataclasses.fields(first):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(again, field.name))
    assert (first.source != other.source).any()
    assert first.source.shape == (SIZE, SIZE, 3)
    assert first.driving.shape == (DRIVEN, SIZE, SIZE, 3)
    assert first.flow.shape == (DRIVEN, 64, 64, 2)
    assert first.visible.shape == (DRIVEN, 64, 64)
    assert first.keypoints.shape == (len(KEYPOINTS), 3)
    assert first.driving_coefficients.shape == (DRIVEN, 70)


@pytest.mark.parametrize("branch", Branch)
def test_frame_positions_are_inverted(branch: Branch) -> None:
    rng = np.random.default_rng(5)
    shape = FaceShape.random(rng)
    blendshapes, pose = random_blendshapes(rng), random_pose(rng)
    x, y = shape.from_frame(blendshapes, pose, branch, iterations=12)
    fx, fy = shape.to_frame(x, y, blendshapes, pose, branch)
    away = np.hypot(fx - GRID_X, fy - GRID_Y)
    assert np.median(away) < 1e-3
    assert np.percentile(away, 95) < 0.02  # folds, as under the chin, have no inverse


def test_an_unmoved_face_has_no_flow(person: Person) -> None:
    view = person.view(REST, LEFT)
    flow, visible = person.flow(view, view)
    away = np.hypot(flow[..., 0] - GRID_X, flow[..., 1] - GRID_Y)
    assert np.median(away) < 0.0015  # a tenth of a pixel is 0.0008
    assert np.percentile(away, 99) < 0.02
    assert visible.mean() > 0.98


def test_the_flow_leads_to_the_same_skin(person: Person) -> None:
    source, driving = person.view(REST, Pose()), person.view(OPEN, Pose(yaw=0.2, roll=0.05, shift=0.02))
    flow, visible = person.flow(driving, source)
    cells = cv2.resize(flow, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    pixels = ((cells + 1) * 31.5 + 0.5) * 4 - 0.5
    warped = cv2.remap(
        source.picture, pixels[..., 0], pixels[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    seen = cv2.resize(visible, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST) > 0.5

    def error(picture: np.ndarray) -> float:
        return float(np.abs(picture.astype(float) - driving.picture)[seen].mean())

    assert error(warped) < 0.35 * error(source.picture)


def test_an_open_mouth_shows_what_a_closed_one_hid(person: Person) -> None:
    closed, opened = person.view(REST, Pose()), person.view(OPEN, Pose())
    assert not closed.mouth.any()
    assert opened.mouth.sum() > 30
    assert not person.flow(opened, closed)[1][opened.mouth].any()
    visible = person.flow(closed, opened)[1]
    assert not visible[opened.mouth].any()  # lips have slid over what was open
    assert visible.mean() > 0.95


@pytest.mark.parametrize("blink", [0.6, 1])
def test_a_lid_that_slides_over_an_eye_hides_it(person: Person, blink: float) -> None:
    closing = REST.copy()
    closing[BLINK] = blink
    opened, shut = person.view(REST, Pose()), person.view(closing, Pose())
    visible = person.flow(shut, opened)[1]
    assert not visible[opened.eyes & ~shut.eyes].any()
    rows = np.flatnonzero((visible == 0).any(1))
    eyes = np.flatnonzero(opened.eyes.any(1))
    assert eyes.min() - 1 <= rows.min() <= rows.max() <= eyes.max() + 1
    assert person.flow(opened, opened)[1][opened.eyes].all()


def test_shut_lids_leave_no_gap() -> None:
    shut = REST.copy()
    shut[BLINK] = 1
    for seed in range(20, 26):
        assert not Person(seed).view(shut, Pose()).eyes.any()


def test_a_blink_hides_the_eyes(person: Person) -> None:
    shut = REST.copy()
    shut[BLINK] = 1
    assert person.view(REST, Pose()).eyes.sum() > 4 * person.view(shut, Pose()).eyes.sum()


def test_the_jaw_lowers_the_mouth_continuously(person: Person) -> None:
    def opening(amount: float) -> View:
        blendshapes = REST.copy()
        blendshapes[JAW] = amount
        return person.view(blendshapes, Pose())

    areas = [int(opening(amount).mouth.sum()) for amount in (0, 0.33, 0.66, 1)]
    assert areas == sorted(set(areas))


def test_keypoints_move_as_the_motion_network_moves_them() -> None:
    rng = np.random.default_rng(2)
    canonical = FaceShape.random(rng).keypoints()
    blendshapes, pose = random_blendshapes(rng), random_pose(rng)
    expected = move_keypoints(canonical, blendshapes, pose)
    coefficients = torch.from_numpy(frame_coefficients(blendshapes, pose)).unsqueeze(0)
    found = move_keypoints_of_networks(torch.from_numpy(canonical).unsqueeze(0), coefficients)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-3)  # the network's pi is 3.14
    degrees = [torch.tensor([np.degrees(angle)], dtype=torch.float32) for angle in (pose.yaw, pose.pitch, pose.roll)]
    np.testing.assert_allclose(motion.rotation_matrix(*degrees)[0].numpy(), pose.rotation(), atol=1e-3)


def test_random_blendshapes_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([random_blendshapes(rng, resting=i % 2 == 0) for i in range(400)])
    assert (drawn >= LOWEST).all()
    assert (drawn <= HIGHEST).all()
    assert drawn[1::2, JAW].std() > 0.25


def test_backgrounds_have_the_spectrum_of_pictures() -> None:
    rng = np.random.default_rng(1)
    power = np.mean([np.abs(np.fft.fft2(fallen_leaves(rng, 128).mean(2))) ** 2 for _ in range(6)], 0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    middle = (frequency > 0.03) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[middle]), np.log(power[middle]), 1)[0]
    assert -3.5 < slope < -1.5  # of natural scenes: about -2

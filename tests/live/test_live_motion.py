"""Motion of a live session: no jumps where one motion follows another, and rest after an interruption."""

import asyncio
from itertools import pairwise

import numpy as np
import pytest
from conversation import LOOP, Conversation, converse, spoken, stream
from fake_models import Models
from sadtalker_runtime.live.options import FULL
from sadtalker_runtime.live.trajectory import Trajectory


@pytest.mark.parametrize("look_ahead", [0, 4, FULL])
def test_motion_never_jumps(look_ahead: int) -> None:
    rows: list[np.ndarray] = []

    async def speak(talk: Conversation) -> None:
        trajectory = talk.session._planner._trajectory
        follow = trajectory.follow

        def noted(motion: np.ndarray, eased: bool = False) -> None:
            follow(motion, eased)
            rows.extend(trajectory._rows[-len(motion) :])

        trajectory.follow = noted

        await asyncio.sleep(1.4)
        for seconds in (2.5, 0.8, 1.7):
            await stream(talk.session, spoken(seconds), 16_000, 0.1)
            talk.session.flush()
            await asyncio.sleep(seconds)
        talk.session.end()

    talk = converse(speak, Models(0.01), look_ahead=look_ahead)
    assert {frame.utterance for frame in talk.shown} == {-1, 0, 1, 2}
    speaking = np.array([frame.utterance >= 0 for frame in talk.shown])
    changes = np.abs(np.diff(rows[: len(speaking)], axis=0, prepend=rows[:1]))
    at_borders = np.convolve(np.abs(np.diff(speaking.astype(int), prepend=0)), np.ones(9), "same") > 0
    for steps in (changes[:, :64].max(1), changes[:, 64:].max(1)):  # of expression and pose
        assert steps[speaking].max() > 0
        assert steps[at_borders].max() <= steps[speaking].max() * 1.01


def test_the_mouth_is_at_rest_four_tenths_of_a_second_after_an_interruption() -> None:
    expressions: dict[bytes, np.ndarray] = {}  # by the picture that was rendered from it

    class Noted(Models):
        def render_frames(self, coefficient_windows: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
            made = super().render_frames(coefficient_windows, **inputs)
            for picture, row in zip(made["frames"][0], coefficient_windows[0, :, :64, 13], strict=True):
                expressions[picture.tobytes()] = row
            return made

    async def speak(talk: Conversation) -> None:
        await asyncio.sleep(0.5)
        talk.session.speak(spoken(5), 16_000)
        await asyncio.sleep(2.2)
        talk.interrupt()
        await asyncio.sleep(2)
        talk.session.end()

    talk = converse(speak, Noted(0.05), idle=False)
    shown = np.stack([expressions[frame.picture.tobytes()] for frame in talk.shown])
    distances = np.abs(shown - shown[0]).max(1)  # from rest
    after = np.array(talk.times) - talk.interrupted
    assert distances[(after > -0.5) & (after < 0)].max() > 0.01
    assert after.max() > 1.9
    np.testing.assert_allclose(distances[after > 0.4], 0, atol=1e-6)


def test_an_interruption_forgets_the_rest_of_the_speech_and_closes_the_mouth() -> None:
    async def speak(talk: Conversation) -> None:
        talk.session.speak(spoken(5), 16_000)
        talk.session.speak(spoken(5), 16_000)
        talk.session.flush()
        talk.session.speak(spoken(5), 16_000)
        await asyncio.sleep(2)
        talk.interrupt()
        talk.session.interrupt()
        await asyncio.sleep(3)
        talk.session.speak(spoken(0.5), 16_000)
        talk.session.end()

    talk = converse(speak, Models(0.02))
    after = [frame for frame, at in zip(talk.shown, talk.times, strict=True) if at > talk.interrupted]
    assert not [frame for frame in after if frame.utterance in (0, 1)]
    assert [frame.utterance for frame in after].count(2) == 12
    assert not any(frame.sound.any() for frame in after[:60])
    rest = np.stack(talk.models.seen[:LOOP])[0, :64]
    rows = talk.models.seen
    assert any(np.array_equal(row[:64], rest) for row in rows[LOOP:])
    # Five frames ease the expression; a chunk is rendered before the first of them is shown.
    assert np.diff([at for at in talk.times if at > talk.interrupted]).max() < 0.041


def test_steps_of_the_easing_are_small() -> None:
    trajectory = Trajectory()
    trajectory.plan(np.zeros((5, 70), np.float32), 5)
    trajectory.turn()
    ones = np.ones((18, 70), np.float32)
    seen = [trajectory.plan(ones, 5)[:, :, 13] for _ in range(8)]
    rows = np.concatenate(seen)
    assert (rows[4:, :64] == 1).all()
    assert (rows[24:] == 1).all()
    assert max(b - a for a, b in pairwise(rows[:, 69])) < 0.07
    trajectory.take_back(10)
    assert trajectory.count == 35

"""The evaluation's measures, on frames and curves whose answers are known."""

import numpy as np
import pytest
from sadtalker_training.cli import evaluate
from sadtalker_training.coefficients import BLENDSHAPES, JAW, Pose
from sadtalker_training.commands.evaluate import GOALS, Goal
from sadtalker_training.evaluation import measures
from sadtalker_training.evaluation.sentences import closures
from sadtalker_training.faces.person import Person
from sadtalker_training.speech.utterance import Phoneme, Utterance

REST = np.zeros(len(BLENDSHAPES), np.float32)


@pytest.fixture(scope="module")
def person() -> Person:
    return Person(12)


@pytest.fixture(scope="module")
def meter(person: Person) -> measures.MotionMeter:
    return measures.MotionMeter(person.view(REST, Pose()).picture, person.shape.keypoints())


def test_the_opening_of_true_frames_follows_the_jaw(person: Person, meter: measures.MotionMeter) -> None:
    amounts = np.linspace(0, 1, 5)
    frames = []
    for amount in amounts:
        blendshapes = REST.copy()
        blendshapes[JAW] = amount
        frames.append(person.view(blendshapes, Pose(shift=0.01)).picture)
    openings = [meter.opening(frame) for frame in frames]
    assert measures.correlation(np.array(openings), amounts) > 0.97
    assert abs(openings[0]) < 1 < 8 < openings[-1]


def test_the_turn_of_true_frames_follows_the_yaw(person: Person, meter: measures.MotionMeter) -> None:
    angles = np.linspace(-0.3, 0.3, 5)
    turns = [meter.turn(person.view(REST, Pose(yaw=angle)).picture) for angle in angles]
    assert measures.correlation(np.array(turns), angles) > 0.98


def test_correlation_and_lag_of_known_curves() -> None:
    rng = np.random.default_rng(0)
    curve = np.convolve(rng.standard_normal(100), np.ones(3) / 3, "same")
    assert measures.correlation(curve, 3 * curve + 1) == pytest.approx(1)
    assert measures.correlation(curve, np.ones(100)) == 0
    assert measures.best_lag(np.roll(curve, 3), curve) == 3
    assert measures.best_lag(np.roll(curve, -2), curve) == -2


def test_the_envelope_rises_where_speech_is() -> None:
    waveform = np.concatenate([np.zeros(6400), np.full(6400, 0.5), np.zeros(6400)]).astype(np.float32)
    level = measures.envelope(waveform, 30)
    assert level[15] == pytest.approx(0.5)
    assert level[5] == level[25] == 0


def test_psnr_of_a_known_error() -> None:
    frame = np.full((4, 4, 3), 100, np.uint8)
    assert measures.psnr(frame, frame) == 100
    assert measures.psnr(frame, frame + np.uint8(10)) == pytest.approx(20 * np.log10(25.5))


def test_lips_count_as_closed_where_the_opening_is_small() -> None:
    phonemes = tuple(Phoneme(t, s) for t, s in ((0.0, "a"), (0.4, "m"), (0.5, "a"), (0.8, "b"), (0.82, "a"), (1.0, "")))
    utterance = Utterance(np.zeros(16_000, np.float32), phonemes)
    opening = np.ones(25)
    assert closures(opening, utterance) == [False]  # the b is too short to be seen
    opening[11] = 0.1
    assert closures(opening, utterance) == [True]


def test_goals_are_bounds() -> None:
    assert Goal("a", 2).met(2)
    assert not Goal("a", 2).met(1.9)
    assert Goal("lag", 2, at_least=False).met(-2)
    assert not Goal("lag", 2, at_least=False).met(-3)
    assert len({goal.name for goal in GOALS}) == len(GOALS)


def test_only_the_demo_preset_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(["--weights", "tiny"]) == 2
    assert "expected the demo preset" in capsys.readouterr().err

"""The evaluation's details: true frames reach every goal, a portrait that never moves reaches none of the motion's."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sadtalker_export.presets import PRESETS
from sadtalker_training.cli import evaluate
from sadtalker_training.coefficients import BLINK, PITCH, ROLL, VERTICAL, YAW, Floats, Pose
from sadtalker_training.commands import evaluate as command
from sadtalker_training.commands.evaluate import GOALS
from sadtalker_training.evaluation import details
from sadtalker_training.faces.person import Person
from sadtalker_training.initialisation import fresh_networks

ROOT = Path(__file__).resolve().parents[2]
BLACK, WHITE = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 200, np.uint8)
LEFT_HALF = np.arange(4) < np.full((4, 1), 2)


class TrueRenderer:
    """A stand-in for the networks: it paints the person of the first held-out seed."""

    still = False

    def __init__(self, networks: object, portrait: npt.NDArray[np.uint8], coefficients: Floats) -> None:
        self.portrait = portrait
        self.person = Person(details.FIRST_SEED)
        self.person.photo = replace(self.person.photo, grain=0.0)

    def frames(self, coefficients: Floats) -> npt.NDArray[np.uint8]:
        if self.still:
            return np.stack([self.portrait] * len(coefficients))
        poses = [Pose(*(float(one[i]) for i in (PITCH, YAW, ROLL, VERTICAL))) for one in coefficients]
        return np.stack([self.person.view(c[:7], pose).picture for c, pose in zip(coefficients, poses, strict=True)])

    poses = frames


def figures(monkeypatch: pytest.MonkeyPatch, *, still: bool) -> dict[str, float]:
    monkeypatch.setattr(details, "ClipRenderer", TrueRenderer)
    monkeypatch.setattr(TrueRenderer, "still", still)
    networks = {"keypoint_detector": fresh_networks(PRESETS["demo"], {"keypoint_detector"}, 1)["keypoint_detector"]}
    return details.evaluate_details(networks, 1, lambda: None)


def test_true_frames_reach_every_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = figures(monkeypatch, still=False)
    goals = {goal.name: goal for goal in GOALS if goal.name in measured}
    assert set(goals) == set(measured)
    assert {name: goal.met(measured[name]) for name, goal in goals.items()} == dict.fromkeys(goals, True)
    assert measured["blink"] == pytest.approx(1)
    assert measured["teeth_contrast"] == pytest.approx(1)
    assert measured["smile_gap"] == 0
    assert measured["outline_error_25"] == pytest.approx(0, abs=1e-3)


def test_a_portrait_that_never_moves_misses_them(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = figures(monkeypatch, still=True)
    missed = {goal.name for goal in GOALS if goal.name in measured and not goal.met(measured[goal.name])}
    assert {"blink", "blink_correlation", "interior_psnr", "teeth_contrast", "smile_gap"} <= missed
    assert {"outline_error_15", "outline_error_25"} <= missed
    assert measured["blink"] == 0


def test_a_blink_changes_little_beside_the_boxes_of_the_eyes() -> None:
    person = Person(13)
    person.photo = replace(person.photo, grain=0.0)
    shut = np.zeros(7, np.float32)
    shut[BLINK] = 1
    opened = person.view(np.zeros(7, np.float32), Pose()).picture.astype(float)
    change = np.abs(person.view(shut, Pose()).picture - opened)
    left, right = details.eye_boxes(person)
    assert left[1].stop <= right[1].start
    assert min(change[left].sum(), change[right].sum()) > 0.35 * change.sum()


def test_the_share_of_a_change_counts_only_what_goes_its_way() -> None:
    assert details.share_of_change(BLACK, BLACK, WHITE) == 0
    assert details.share_of_change(WHITE, BLACK, WHITE) == 1
    assert details.share_of_change(np.full_like(WHITE, 100), BLACK, WHITE) == pytest.approx(0.5)
    half = np.where(LEFT_HALF[..., None], WHITE, BLACK)
    other = np.where(LEFT_HALF[..., None], BLACK, WHITE)
    assert details.share_of_change(other, BLACK, half) == 0


def test_a_gap_is_what_still_looks_open() -> None:
    everywhere = np.ones((4, 4), bool)
    assert details.remaining_gap(WHITE, WHITE, BLACK, everywhere) == 4
    assert details.remaining_gap(BLACK, WHITE, BLACK, everywhere) == 0
    top = np.where(np.arange(4)[:, None, None] < 1, WHITE, BLACK)
    assert details.remaining_gap(top, WHITE, BLACK, everywhere) == 1


def test_brightness_psnr_colours_and_flicker_of_known_pictures() -> None:
    everywhere = np.ones((4, 4), bool)
    half = np.where(LEFT_HALF[..., None], WHITE, BLACK)
    assert details.brightness_slope(half // 2, half, everywhere) == pytest.approx(0.5)
    assert details.brightness_slope(WHITE, half, everywhere) == 0
    assert details.masked_psnr(half, WHITE, LEFT_HALF) > 90
    assert details.masked_psnr(BLACK, WHITE, LEFT_HALF) == pytest.approx(20 * np.log10(255 / 200))
    assert details.shared_colours(half, WHITE, LEFT_HALF) == pytest.approx(1)
    assert details.shared_colours(half, WHITE, everywhere) == pytest.approx(0.5)
    steady = np.stack([np.full_like(BLACK, 10 * t) for t in range(5)])
    assert details.unsteadiness(steady) == 0
    assert details.unsteadiness(np.stack([BLACK, WHITE, BLACK])) == 400


def test_the_outline_lies_on_both_sides_of_the_edge() -> None:
    coverage = np.zeros((64, 64), np.float32)
    coverage[:, 32:] = 1
    columns = np.flatnonzero(details.outline(coverage)[32])
    assert list(columns) == list(range(32 - details.OUTLINE, 32 + details.OUTLINE))


@pytest.mark.parametrize(("blink", "code"), [(0.9, 0), (0.1, 1)])
def test_a_quick_evaluation_judges_the_details_alone(
    blink: float, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def measured(networks: object, people: int, advance: object) -> dict[str, float]:
        asked.append(people)
        return {"blink": blink}

    monkeypatch.setattr(command, "evaluate_details", measured)
    monkeypatch.setattr(command, "evaluate_people", None)
    monkeypatch.setattr(command, "evaluate_sentences", None)
    output = tmp_path / "new" / "figures.json"
    assert evaluate(["--quick", "--output", str(output)]) == code
    assert asked == [command.QUICK]
    assert json.loads(output.read_text()) == {"people": command.QUICK, "figures": {"blink": blink}}


def test_a_sheet_shows_portraits_that_speak_and_turn(tmp_path: Path) -> None:
    sheet = tmp_path / "new" / "sheet.png"
    assert evaluate(["--sheet", str(sheet), str(ROOT / "examples" / "portrait.jpg")]) == 0
    picture = cv2.imread(str(sheet))
    assert picture.shape == (256, 7 * 256, 3)
    portrait, _, a, _, m, left, right = (cell.astype(int) for cell in np.split(picture, 7, axis=1))
    mouth = np.s_[160:, 64:192]
    assert np.abs(a[mouth] - portrait[mouth]).mean() > 2 * np.abs(m[mouth] - portrait[mouth]).mean()
    assert np.abs(left - right).mean() > 5


def test_a_sheet_needs_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty.png"
    cv2.imwrite(str(empty), np.full((256, 256, 3), 128, np.uint8))
    assert evaluate(["--sheet", str(tmp_path / "sheet.png"), str(empty)]) == 2
    assert "--sheet: image" in capsys.readouterr().err
    assert not (tmp_path / "sheet.png").exists()

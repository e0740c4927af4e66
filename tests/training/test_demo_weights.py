"""The demo's weights: official files of the demo preset, and networks that do what they were taught."""

import json
from collections.abc import Mapping

import numpy as np
import pytest
import safetensors
import torch
from sadtalker_export.checkpoint import loading
from sadtalker_export.checkpoint.layout import SADTALKER
from sadtalker_export.precision.gate import is_synthetic
from sadtalker_training.coefficients import COEFFICIENTS, JAW, KEYPOINTS, YAW
from sadtalker_training.commands.evaluate import GOALS
from sadtalker_training.demo_weights import HISTORY, TASK_OF
from sadtalker_training.evaluation.people import evaluate_people
from sadtalker_training.faces.person import Person
from torch import nn

HELD_OUT = 4 * 10**9


@pytest.fixture(scope="module")
def networks() -> Mapping[str, nn.Module]:
    preset, networks = loading.load_directory(loading.DEMO)
    assert preset.name == "demo"
    return networks


def test_they_are_small_and_in_half_precision() -> None:
    assert sum(path.stat().st_size for path in loading.DEMO.iterdir()) < 8 * 10**6
    with safetensors.safe_open(loading.DEMO / SADTALKER[256].name, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert kinds <= {"F16", "I64"}


def test_every_part_was_trained() -> None:
    history = json.loads((loading.DEMO / HISTORY).read_text())
    assert set(history) == set(TASK_OF.values())
    assert all(standing["samples"] > 0 for standing in history.values())


def test_precision_is_judged_on_them(networks: Mapping[str, nn.Module]) -> None:
    assert not is_synthetic(networks)


def test_the_jaw_lowers_the_lip_and_yaw_turns_the_nose(networks: Mapping[str, nn.Module]) -> None:
    windows = torch.zeros(1, 3, COEFFICIENTS, 27)
    windows[:, 1, JAW], windows[:, 2, YAW] = 1, 0.3
    canonical = torch.from_numpy(Person(HELD_OUT).shape.keypoints()).unsqueeze(0)
    rest, opened, turned = networks["motion"](canonical, windows)[0]
    lip, nose = KEYPOINTS.index("lower_lip"), KEYPOINTS.index("nose")
    assert (opened - rest)[lip, 1] == pytest.approx(0.23, abs=0.03)
    depth = float(canonical[0, nose, 2])
    assert (turned - rest)[nose, 0] == pytest.approx(depth * np.sin(0.3), abs=0.03)


def test_silence_keeps_the_mouth_shut(networks: Mapping[str, nn.Module]) -> None:
    silence = torch.full((1, 80, 16), -4.0)
    expression = networks["audio2exp"](silence, torch.zeros(1, 64), torch.zeros(1, 1))
    assert expression[0, JAW] < 0.1


def test_faces_it_never_saw_reach_the_goals(networks: Mapping[str, nn.Module]) -> None:
    seen = []
    figures = evaluate_people(networks, 4, lambda: seen.append(True))
    judged = {goal.name: goal.met(figures[goal.name]) for goal in GOALS if goal.name in figures}
    assert judged == dict.fromkeys(("self_psnr", "mouth_psnr_gain", "jaw_correlation", "yaw_correlation"), True)
    assert len(seen) == 4

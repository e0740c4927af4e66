"""The demo's weights: written in the layout of the official files, in half precision, and resumed from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sadtalker_export.checkpoint import loading
from sadtalker_export.checkpoint.layout import MAPPING_CROP, MAPPING_FULL, SADTALKER, CheckpointFile
from sadtalker_export.checkpoint.networks import FULL_COEFFICIENTS, build_networks, expected_shapes
from sadtalker_export.presets import PRESETS
from torch import Tensor, nn

from .initialisation import fresh_networks

FILES = (SADTALKER[256], MAPPING_CROP, MAPPING_FULL)
TRAINED = frozenset(SADTALKER[256].networks() | {"motion"})
TASK_OF = {
    "motion": "motion",
    "audio2exp": "expression",
    "audio2pose": "pose",
    "face_reconstruction": "reconstruction",
    "appearance_encoder": "renderer",
    "keypoint_detector": "renderer",
    "face_renderer": "renderer",
}
HISTORY = "history.json"
PROGRESS = ("samples", "steps", "seconds", "losses")
_STEM = "mapping.stem.weight"


def write_demo_weights(state: Path, directory: Path) -> None:
    """Write the averaged weights of every task's state into three files; a task without a state gives random ones."""
    networks = fresh_networks(PRESETS["demo"], set(TRAINED), 0)
    for name, network in networks.items():
        path = state / f"{TASK_OF[name]}.pt"
        if path.is_file():
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["averages"][name])
    networks["motion_full"] = _seeing_the_crop(networks["motion"])
    directory.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        loading.write(directory, file, official_tensors(file, networks))
    write_history(state, directory)


def official_tensors(file: CheckpointFile, networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Return the tensors of a file by official key: float16, and zeros where only the original's training used them."""
    tensors = {
        key: torch.zeros(shape, dtype=torch.float16) for key, shape in expected_shapes(file, PRESETS["demo"]).items()
    }
    for name in file.networks():
        for key, value in networks[name].state_dict().items():
            tensors[file.official(name, key)] = value.half() if value.is_floating_point() else value
    return {key: value.contiguous() for key, value in tensors.items()}


def write_history(state: Path, directory: Path) -> None:
    """Write down how much every task has learned, beside the weights."""
    history = {}
    for task in sorted(set(TASK_OF.values())):
        path = state / f"{task}.pt"
        if path.is_file():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            history[task] = {key: saved[key] for key in PROGRESS}
    text = json.dumps(history, indent=2, default=lambda number: round(number, 4)) + "\n"
    partial = directory / (HISTORY + ".partial")
    partial.write_text(text)
    partial.replace(directory / HISTORY)


def resume(directory: Path, state: Path) -> None:
    """Make a state of the weights and the history in a directory for every task that has none, if both are there.

    The optimiser starts anew; the weights are those of the moving average.
    """
    if not (directory / HISTORY).is_file():
        return
    history: dict[str, dict[str, Any]] = json.loads((directory / HISTORY).read_text())
    _, networks = loading.load_directory(directory)
    for task, standing in history.items():
        path = state / f"{task}.pt"
        if path.is_file():
            continue
        tensors = {name: networks[name].state_dict() for name, of in TASK_OF.items() if of == task}
        state.mkdir(parents=True, exist_ok=True)
        torch.save({"networks": tensors, "averages": tensors, **standing}, path)


def _seeing_the_crop(motion: nn.Module) -> nn.Module:
    """Return the mapping that also takes the crop's position, which it ignores."""
    full = build_networks(PRESETS["demo"], {"motion_full"})["motion_full"]
    state = dict(motion.state_dict())
    missing = FULL_COEFFICIENTS - state[_STEM].shape[1]
    state[_STEM] = torch.cat(
        [state[_STEM], state[_STEM].new_zeros(len(state[_STEM]), missing, state[_STEM].shape[2])], 1
    )
    full.load_state_dict(state, strict=True, assign=True)
    return full

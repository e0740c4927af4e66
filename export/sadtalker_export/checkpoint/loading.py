"""Networks read from checkpoint files, strictly, and files written in the official layout."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..presets import PRESETS, Preset
from . import synthetic
from .layout import MAPPING_CROP, MAPPING_FULL, SADTALKER, CheckpointError, CheckpointFile
from .networks import build_networks, expected_shapes
from .restoration_layout import RESTORATION

DEMO = Path(__file__).parents[1] / "demo"  # the trained weights in this package
OFFICIAL = Path("weights/official")
RESTORERS = {
    "face_enhancer",
    "restoreformer",
    "background_enhancer",
}  # networks that change pictures, not those that find faces
_PRESET_MARKER = "generator.first.conv.weight"  # its length differs between presets
_PARALLEL = "module."  # prefix that data-parallel training gives every key; some published files still have it


def files(image_size: int = 256) -> tuple[CheckpointFile, ...]:
    """Return the checkpoint files that an image size needs."""
    return SADTALKER[image_size], MAPPING_CROP, MAPPING_FULL


def load_weights(name: str, image_size: int = 256) -> tuple[Preset, dict[str, nn.Module]]:
    """Load the networks that `--weights` names: `tiny`, `demo`, `official`, or a directory.

    Networks that find and restore faces are included if their files are there. `tiny` includes all that restore, but no
    detectors: with synthetic weights they find no face. Raises `CheckpointError`.
    """
    if name == "tiny":
        tiny = PRESETS["tiny"]
        networks = synthetic_networks(tiny, image_size=image_size)
        return tiny, networks | synthetic_networks(tiny, RESTORERS)
    directory = {"official": OFFICIAL, "demo": DEMO}.get(name, Path(name))
    preset, networks = load_directory(directory, image_size)
    return preset, networks | load_restoration(directory, preset)


def load_directory(directory: Path, image_size: int = 256) -> tuple[Preset, dict[str, nn.Module]]:
    """Load all networks from the checkpoint files in a directory; the preset follows from the shapes.

    Raises `CheckpointError` for a file that is missing, unreadable, or holds other tensors than the preset's.
    """
    states = {file: read(directory / file.name, file) for file in files(image_size)}
    preset = _preset_of(states[SADTALKER[image_size]], directory)
    return preset, assemble(preset, states)


def load_restoration(directory: Path, preset: Preset) -> dict[str, nn.Module]:
    """Load the networks that find and restore faces, of a preset: those whose files are in the directory.

    Raises `CheckpointError` for a file that is unreadable or holds other tensors than the preset's.
    """
    present = [file for file in RESTORATION if (directory / file.name).is_file()]
    return assemble(preset, {file: read(directory / file.name, file) for file in present})


def synthetic_networks(preset: Preset, names: set[str] | None = None, image_size: int = 256) -> dict[str, nn.Module]:
    """Build SadTalker's networks of a preset (or any that are named) with deterministic weights, without any file."""
    states: dict[CheckpointFile, dict[str, Tensor]] = {}
    for file in (*files(image_size), *(RESTORATION if names else ())):
        if wanted := file.networks() if names is None else file.networks() & names:
            shapes = expected_shapes(file, preset)
            shapes = {k: s for k, s in shapes.items() if (ours := file.ours(k)) is None or ours[0] in wanted}
            states[file] = {k: torch.from_numpy(v) for k, v in synthetic.state(file, shapes).items()}
    return assemble(preset, states, names)


def assemble(
    preset: Preset, states: Mapping[CheckpointFile, Mapping[str, Tensor]], names: set[str] | None = None
) -> dict[str, nn.Module]:
    """Build networks from official tensors, every one of them checked for presence and shape."""
    networks: dict[str, nn.Module] = {}
    for file, state in states.items():
        wanted = file.networks() if names is None else file.networks() & names
        if names is None:
            file.check({k: tuple(v.shape) for k, v in state.items()}, expected_shapes(file, preset))
        ours: dict[str, dict[str, Tensor]] = {name: {} for name in wanted}
        for key, value in state.items():
            target = file.ours(key)
            if target and target[0] in wanted:  # the networks compute in float32, whatever they were stored in
                ours[target[0]][target[1]] = value.float() if value.is_floating_point() else value
        for name, network in build_networks(preset, wanted).items():
            network.load_state_dict(ours[name], strict=True, assign=True)
            networks[name] = network.requires_grad_(False)
    return networks


def read(path: Path, file: CheckpointFile) -> dict[str, Tensor]:
    """Read the tensors of one file by official key; pickles may hold nothing but tensors and plain containers."""
    if not path.is_file():
        raise CheckpointError(f"{path}: not found; `sadtalker-export weights --official {path.parent}` downloads it")
    try:
        if _is_safetensors(file):
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from error
    tensors = content
    if file.entry and isinstance(content, dict):
        tensors = content.get(file.entry, content.get(file.other_entry))
    if not isinstance(tensors, dict) or not all(isinstance(v, Tensor) for v in tensors.values()):
        where = f" under {' or '.join(map(repr, filter(None, (file.entry, file.other_entry))))}" if file.entry else ""
        raise CheckpointError(f"{path}: expected a dictionary with tensors{where}")
    return {key.removeprefix(_PARALLEL): value for key, value in tensors.items()}


def write_synthetic(directory: Path, preset: Preset, file: CheckpointFile) -> Path:
    """Write one file in the official layout from deterministic values; atomic."""
    shapes = expected_shapes(file, preset)
    tensors = {k: torch.from_numpy(v) for k, v in synthetic.state(file, shapes).items()}
    return write(directory, file, tensors)


def write(directory: Path, file: CheckpointFile, tensors: Mapping[str, Tensor]) -> Path:
    """Write tensors by official key as one file; atomic."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / file.name
    partial = path.with_name(path.name + ".partial")
    if _is_safetensors(file):
        safetensors.torch.save_file(dict(tensors), partial)
    else:
        torch.save({file.entry: dict(tensors)} if file.entry else dict(tensors), partial)
    return partial.replace(path)


def _is_safetensors(file: CheckpointFile) -> bool:
    return file.name.endswith(".safetensors")


def _preset_of(state: Mapping[str, Tensor], directory: Path) -> Preset:
    marker = state.get(_PRESET_MARKER)
    widths = {preset.face_renderer.appearance.width: preset for preset in PRESETS.values()}
    if marker is None:
        raise CheckpointError(f"{directory}: missing key {_PRESET_MARKER!r}")
    if marker.shape[0] not in widths:
        known = ", ".join(f"{p.name} ({w})" for w, p in widths.items())
        raise CheckpointError(f"{directory}: key {_PRESET_MARKER!r} has {marker.shape[0]} channels; expected {known}")
    return widths[marker.shape[0]]

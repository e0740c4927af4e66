"""Our names for the tensors of the official files: complete, and strict about every one of them."""

import hashlib
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from sadtalker_export.checkpoint import loading
from sadtalker_export.checkpoint.layout import MAPPING_CROP, MAPPING_FULL, SADTALKER, CheckpointError, CheckpointFile
from sadtalker_export.checkpoint.networks import expected_shapes
from sadtalker_export.checkpoint.restoration_layout import (
    ALIGNMENT,
    GFPGAN,
    PARSENET,
    REALESRGAN,
    RESTOREFORMER,
    RETINAFACE,
)
from sadtalker_export.presets import PRESETS

# Of the published files: number of tensors, and SHA-256 over the sorted lines "key [shape]".
PUBLISHED = {
    SADTALKER[256]: (1305, "a902d6ba5adaa70d6e09ab9046b90cdd2511a365509c941cc504516fe9ef7153"),
    SADTALKER[512]: (1305, "a902d6ba5adaa70d6e09ab9046b90cdd2511a365509c941cc504516fe9ef7153"),
    MAPPING_CROP: (18, "9dd57a8234838057318dd60b2c69305d583dcfd91ed10fae48016792e0bfa436"),
    MAPPING_FULL: (18, "2bfcface9f9a995102f03441bcfd8b9e2a1fae22003d2f0cb39316b1f4cdac2e"),
    GFPGAN: (285, "b4d310540debf8e32d591fe1dc9f6d3ae4c30dab6340dc32a4606b06362386a9"),
    RESTOREFORMER: (405, "50f11f8906fd1c6810c57caf9c8d1f1c40494ac240176b40fe5297401d2449fc"),
    REALESRGAN: (702, "d03cd47cc4efa2bfbeb98fd57ec0aa34e9b69a8a0bcba87b3117f93b96c49f0d"),
    RETINAFACE: (456, "4d1a58ba19cc72c258466850921e5d226797111ae036a158d072406b95b6f04f"),
    ALIGNMENT: (1137, "76d9a15294487399b698723be4a341c43a20484b43928e8593f6e6df5682c5c3"),
    PARSENET: (238, "f4ddfb08933f2a2ca7568db2439575cad34f312139d322c2860e3d18b948b3b4"),
}
TINY = PRESETS["tiny"]
APPEARANCE = "generator.first.conv.weight"
UNUSED = "audio2pose.netD_motion.seq.3.bias"


@pytest.fixture(scope="module")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny")
    for file in loading.files():
        loading.write_synthetic(directory, TINY, file)
    return directory


@pytest.fixture
def directory(tiny_directory: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil; the files are links until they are written anew."""
    for path in tiny_directory.iterdir():
        (tmp_path / path.name).symlink_to(path)
    return tmp_path


def rewrite(directory: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors of the 256 file by key; None takes one away."""
    path = directory / SADTALKER[256].name
    tensors = safetensors.torch.load_file(path)
    for key, value in changes.items():
        if value is None:
            del tensors[key]
        else:
            tensors[key] = value
    path.unlink()
    safetensors.torch.save_file(tensors, path)


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_expects_the_tensors_of_the_published_file(file: CheckpointFile) -> None:
    lines = sorted(f"{key} {list(shape)}" for key, shape in expected_shapes(file, PRESETS["official"]).items())
    assert (len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()) == PUBLISHED[file]


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.name)
def test_every_used_key_is_found_again_from_ours(file: CheckpointFile) -> None:
    for key in expected_shapes(file, TINY):
        if ours := file.ours(key):
            assert file.official(*ours) == key


def test_a_directory_tells_its_preset_and_gives_all_networks(tiny_directory: Path) -> None:
    preset, networks = loading.load_directory(tiny_directory)
    assert preset is TINY
    assert set(networks) == SADTALKER[256].networks() | {"motion", "motion_full"}
    from_scheme = loading.synthetic_networks(TINY)
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, from_scheme[name].state_dict()[key]), f"{name}.{key}"


@pytest.mark.parametrize("key", ["generator.second.bias", UNUSED])
def test_a_missing_key_is_named(directory: Path, key: str) -> None:
    rewrite(directory, **{key: None})
    with pytest.raises(CheckpointError, match=f"{SADTALKER[256].name}(.|\n)*missing key '{key}'"):
        loading.load_directory(directory)


@pytest.mark.parametrize("key", ["generator.third.extra", "surprise"])
def test_an_extra_key_is_named(directory: Path, key: str) -> None:
    rewrite(directory, **{key: torch.zeros(3)})
    with pytest.raises(CheckpointError, match=f"unexpected key '{key}'"):
        loading.load_directory(directory)


@pytest.mark.parametrize(("key", "has"), [("audio2exp.mapping1.bias", "[64]"), (UNUSED, "[1]")])
def test_a_misshapen_key_is_named_with_both_shapes(directory: Path, key: str, has: str) -> None:
    rewrite(directory, **{key: torch.zeros(7)})
    with pytest.raises(CheckpointError) as error:
        loading.load_directory(directory)
    assert f"key '{key}': expected {has}, got [7]" in str(error.value)


def test_many_problems_are_counted_not_all_told(directory: Path) -> None:
    rewrite(directory, **{f"surprise{i}": torch.zeros(1) for i in range(15)})
    with pytest.raises(CheckpointError) as error:
        loading.load_directory(directory)
    assert "and 5 more" in str(error.value) and len(str(error.value).splitlines()) == 12


def test_an_unknown_width_names_the_presets(directory: Path) -> None:
    rewrite(directory, **{APPEARANCE: torch.zeros(5, 3, 3, 3)})
    with pytest.raises(CheckpointError, match=r"5 channels; expected official \(64\), tiny \(8\), demo \(12\)"):
        loading.load_directory(directory)


def test_a_missing_file_names_the_command_that_brings_it(directory: Path) -> None:
    (directory / MAPPING_FULL.name).unlink()
    with pytest.raises(CheckpointError, match=f"{MAPPING_FULL.name}: not found; `sadtalker-export weights --official"):
        loading.load_directory(directory)


def test_a_copy_with_the_other_entry_is_read(tmp_path: Path) -> None:
    path = loading.write_synthetic(tmp_path, TINY, RESTOREFORMER)
    tensors = torch.load(path)
    torch.save({"params": tensors["params_ema"]}, path)
    found = loading.load_restoration(tmp_path, TINY)["restoreformer"].state_dict()
    assert torch.equal(found["decoder.head.bias"], tensors["params_ema"]["decoder.conv_out.bias"])
    torch.save({"state": tensors["params_ema"]}, path)
    with pytest.raises(CheckpointError, match="expected a dictionary with tensors under 'params_ema' or 'params'"):
        loading.load_restoration(tmp_path, TINY)


class Malicious:
    """Unpickling this would make a directory."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, legacy: bool) -> None:
    path, target = tmp_path / MAPPING_CROP.name, tmp_path / "executed"
    torch.save({"mapping": Malicious(target)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        loading.read(path, MAPPING_CROP)
    assert not target.exists()


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {"generator": {}}, {"mapping": torch.zeros(1)}, {"mapping": {"epoch": 3}}]
)
def test_a_pickle_without_the_expected_tensors_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / MAPPING_CROP.name
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="expected a dictionary with tensors under 'mapping'"):
        loading.read(path, MAPPING_CROP)


@pytest.mark.parametrize("file", [SADTALKER[256], MAPPING_CROP], ids=lambda file: file.name)
@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated"])
def test_a_damaged_file_is_refused(tiny_directory: Path, tmp_path: Path, file: CheckpointFile, damage: str) -> None:
    intact = (tiny_directory / file.name).read_bytes()
    path = tmp_path / file.name
    path.write_bytes({"empty": b"", "garbage": b"<html>not found</html>" * 50, "truncated": intact[:-1000]}[damage])
    with pytest.raises(CheckpointError, match=f"{path.name}: not a readable checkpoint"):
        loading.read(path, file)

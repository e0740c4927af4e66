"""Exports for pictures of 512 pixels: what is written, what is left of an earlier export, and what is refused."""

from pathlib import Path

import pytest
from rich.console import Console
from sadtalker_export.checkpoint.loading import synthetic_networks
from sadtalker_export.cli import main
from sadtalker_export.console import progress
from sadtalker_export.onnx import repository as exporting
from sadtalker_export.onnx.check import check
from sadtalker_export.onnx.graph import export
from sadtalker_export.presets import PRESETS
from sadtalker_export.rewrites.for_cpu import for_cpu
from sadtalker_export.specs import SIZED, SPECS, NetworkSpec, at_size, with_frames
from sadtalker_runtime.manifest import read_manifest


def test_maps_are_twice_as_large_and_nothing_else_is() -> None:
    shapes = {
        (name, tensor.name): tensor.shape
        for name, spec in SPECS.items()
        for tensor in (*at_size(spec, 512).inputs, *at_size(spec, 512).outputs)
        if tensor not in (*spec.inputs, *spec.outputs)
    }
    assert shapes == {
        ("appearance_encoder", "image"): (3, 512, 512),
        ("appearance_encoder", "appearance"): (32, 16, 128, 128),
        ("face_renderer", "appearance"): (32, 16, 128, 128),
        ("face_renderer", "frames"): (5, 512, 512, 3),
    }
    assert all(at_size(spec, 256) == spec for spec in SPECS.values())


def test_a_chunk_may_be_one_frame(tmp_path: Path) -> None:
    assert [name for name, spec in SPECS.items() if with_frames(spec, 1) != spec] == ["face_renderer"]
    spec = with_frames(SPECS["face_renderer"], 1)
    module = spec.build(synthetic_networks(PRESETS["tiny"], {"face_renderer"}))
    export(spec, for_cpu(module, 1), tmp_path / "model.onnx")
    check(spec, module, tmp_path / "model.onnx")


def test_an_export_takes_the_place_of_one_of_another_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(spec: NetworkSpec, _module: object, path: Path, metadata: dict[str, str]) -> None:
        path.write_text(str(spec.inputs[0].shape))

    monkeypatch.setattr(exporting, "export", write)
    monkeypatch.setattr(exporting, "check", lambda *_: None)
    for name in SPECS:
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").touch()
    networks = synthetic_networks(PRESETS["tiny"])
    for size, file, shape in ((256, "model.onnx", 256), (512, "model_512.onnx", 512), (256, "model.onnx", 256)):
        with progress(Console(quiet=True)) as bar:
            exporting.export_repository(networks, "tiny", tmp_path, bar, size=size)
        models = read_manifest(tmp_path).models
        for name in SPECS:
            expected = file if name in SIZED else "model.onnx"
            assert [path.name for path in (tmp_path / name / "1").iterdir()] == [expected]
            assert models[name].keys() == {expected}
            assert models[name][expected].bytes == (tmp_path / name / "1" / expected).stat().st_size
        encoder = tmp_path / "appearance_encoder" / "1" / file
        assert encoder.read_text() == str((3, shape, shape))


def test_bf16_is_for_256_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["onnx", "--weights", "tiny", "--repository", str(tmp_path), "--size", "512", "--precision", "bf16"]
    assert main(command) == 2
    assert capsys.readouterr().err == "sadtalker-export: --precision bf16 goes with --size 256, got 512\n"

"""`exported.json`: what is written is read again, what cannot be read is said, and the module needs nothing heavy."""

import json
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sadtalker_runtime import manifest as module
from sadtalker_runtime.manifest import MANIFEST, ExportedFile, Manifest, ManifestError, read_manifest, write_manifest

EXPORTED = Manifest(
    preset="demo",
    weights="ab" * 32,
    precision="bf16",
    size=256,
    exporter="cd" * 32,
    models={
        "motion": {"model.onnx": ExportedFile(10, "01" * 32)},
        "face_renderer": {
            "model.onnx": ExportedFile(20, "02" * 32),
            "model_bf16.onnx": ExportedFile(30, "03" * 32),
        },
    },
)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_manifest(tmp_path, EXPORTED)
    assert read_manifest(tmp_path) == EXPORTED
    content = json.loads((tmp_path / MANIFEST).read_text())
    assert content["models"]["motion"] == {"files": {"model.onnx": {"bytes": 10, "sha256": "01" * 32}}}
    assert stat.S_IMODE((tmp_path / MANIFEST).stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_failed_write_keeps_the_manifest_there_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_manifest(tmp_path, EXPORTED)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fchmod", full)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(tmp_path, replace(EXPORTED, preset="official"))
    assert read_manifest(tmp_path) == EXPORTED
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_missing_manifest_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as failure:
        read_manifest(tmp_path)
    assert str(failure.value) == f"{tmp_path / MANIFEST} is missing"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"preset": "tiny", "models": {"motion": {"bytes": 1, "sha256": ""}}}, "has format 1, expected 2"),
        ({"format": 3}, "has format 3, expected 2"),
    ],
)
def test_another_format_asks_for_a_new_export(content: dict, reason: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ManifestError) as failure:
        read_manifest(tmp_path)
    told = f"{tmp_path / MANIFEST} {reason}: another version wrote it, export the networks again"
    assert str(failure.value) == told


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\xff",
        "[]",
        '{"format": 2}',
        json.dumps(
            {"format": 2, "preset": "", "weights": "", "precision": "", "size": "x", "exporter": "", "models": {}}
        ),
        json.dumps(
            {"format": 2, "preset": "", "weights": "", "precision": "", "size": 1, "exporter": "", "models": []}
        ),
    ],
)
def test_a_broken_manifest_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=r"exported\.json cannot be read \("):
        read_manifest(tmp_path)


def test_the_launcher_reads_it_without_pytorch_and_the_exporter() -> None:
    code = """
import sys
import sadtalker_server, sadtalker_server._repository
sys.exit(bool({"torch", "onnx", "sadtalker_export", "sadtalker_training"} & sys.modules.keys()))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60).returncode == 0

"""The demo's networks that the wheel carries are those that the exporter writes, and nothing else is in them."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from rich.progress import Progress
from sadtalker_export.checkpoint.loading import load_weights
from sadtalker_export.commands import bundle as command
from sadtalker_export.commands.bundle import VERSIONS
from sadtalker_export.errors import CheckFailedError
from sadtalker_export.onnx import dependencies
from sadtalker_export.onnx.dependencies import exporter_digest, weights_digest
from sadtalker_export.onnx.repository import export_repository
from sadtalker_runtime.bundle import BundleError, pack, unpack
from sadtalker_runtime.manifest import read_manifest, write_manifest
from sadtalker_runtime.processor import Processor
from sadtalker_server._initialization import initialize

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "server" / "sadtalker_runtime" / "demo"
REPACK = "run: make bundle"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository into which the demo's networks were exported just now, in place of the packed ones."""
    repository = tmp_path_factory.mktemp("exported") / "model_repository"
    initialize(repository)
    write_manifest(repository, replace(read_manifest(repository), weights="of another export"))
    preset, networks = load_weights("demo")
    with Progress(disable=True) as bar:
        export_repository(networks, preset.name, repository, bar, "bf16", gates=read_manifest(BUNDLE).gates)
    return repository


def test_exporting_gives_the_packed_networks(exported: Path) -> None:
    for file in unpack(BUNDLE, read_manifest(BUNDLE)):
        packed, written = onnx.ModelProto(), onnx.load(exported / file.model / "1" / file.name)
        packed.ParseFromString(file.content)
        for model in (packed, written):
            del model.metadata_props[:]  # weights and exporter: compared below
            model.producer_version = ""
        assert str(ROOT).encode() not in file.content
        assert b"stack_trace" not in file.content
        assert packed.SerializeToString() == written.SerializeToString(), f"{file.model} is another network: {REPACK}"
    assert read_manifest(exported).models.keys() == read_manifest(BUNDLE).models.keys()


def test_they_come_from_the_demo_s_weights_and_these_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = json.loads((BUNDLE / VERSIONS).read_text())
    assert versions.keys() == set(dependencies.DISTRIBUTIONS)
    monkeypatch.setattr(dependencies, "version", versions.__getitem__)  # a later PyTorch makes nothing stale
    manifest = read_manifest(BUNDLE)
    assert manifest.weights == weights_digest(load_weights("demo")[1]), f"the demo's weights changed; {REPACK}"
    assert manifest.exporter == exporter_digest(), f"the exporter's sources changed; {REPACK}"
    assert (manifest.preset, manifest.precision, manifest.size) == ("demo", "bf16", 256)
    assert manifest.gates == {"bf16": True}, "the demo is served in bf16 where a processor computes in it"


def test_nothing_else_is_packed() -> None:
    models = read_manifest(BUNDLE).models
    expected = {f"{model}.xz" for model in models}
    found = {path.relative_to(BUNDLE).as_posix() for path in BUNDLE.rglob("*") if path.is_file()}
    assert found == expected | {"exported.json", VERSIONS}
    assert sum(path.stat().st_size for path in BUNDLE.glob("*.xz")) < 9.5e6


def test_packing_gives_the_same_files_and_leaves_those_alone_that_did_not_change(
    exported: Path, tmp_path: Path
) -> None:
    manifest = pack(exported, tmp_path)
    files = list(unpack(tmp_path, manifest))
    assert {file.name for file in files if file.model == "face_renderer"} == {"model.onnx", "model_bf16.onnx"}
    for file in files:
        assert file.content == (exported / file.model / "1" / file.name).read_bytes()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.xz")}
    (tmp_path / "face_enhancer.xz").write_bytes(b"of an earlier export")
    pack(exported, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.xz")} == times


def test_the_verdict_on_bf16_is_this_processor_s_or_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, networks = load_weights("demo")
    manifest = replace(read_manifest(BUNDLE), gates={"bf16": False})
    monkeypatch.setattr(command, "passes_bf16", lambda _: True)
    with Progress(disable=True) as bar:
        monkeypatch.setattr(command, "this_processor", lambda: Processor("", (), 2))
        with pytest.raises(CheckFailedError, match="expected a processor that computes in bf16"):
            command.judged(networks, tmp_path, bar)
        write_manifest(tmp_path, manifest)
        assert command.judged(networks, tmp_path, bar) == {"bf16": False}
        write_manifest(tmp_path, replace(manifest, weights="of another training"))
        with pytest.raises(CheckFailedError):
            command.judged(networks, tmp_path, bar)
        monkeypatch.setattr(command, "this_processor", lambda: Processor("", ("amx_bf16",), 2))
        assert command.judged(networks, tmp_path, bar) == {"bf16": True}


def test_what_the_manifest_does_not_describe_is_refused(exported: Path, tmp_path: Path) -> None:
    manifest = read_manifest(BUNDLE)
    damaged = replace(manifest.models["motion"]["model.onnx"], sha256="0" * 64)
    other = replace(manifest, models={"motion": {"model.onnx": damaged}})
    with pytest.raises(BundleError, match=r"motion\.xz is not the file that its manifest describes"):
        list(unpack(BUNDLE, other))
    with pytest.raises(BundleError, match=r"xz cannot be read"):
        list(unpack(tmp_path, manifest))
    with pytest.raises(BundleError, match="expected at most 127 bytes in a record, got"):
        list(unpack(BUNDLE, replace(manifest, preset="x" * 200)))


def test_a_file_without_the_record_of_its_export_is_refused(exported: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, replace(read_manifest(exported), exporter="0" * 64))
    for name in read_manifest(exported).models:
        (tmp_path / name).symlink_to(exported / name)
    with pytest.raises(BundleError, match=r"model\.onnx does not end with the record of its export"):
        pack(tmp_path, tmp_path / "bundle")

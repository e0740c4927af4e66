"""Reasons for an export to be out of date: changed sources and versions that shape a graph, and nothing else."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sadtalker_export.onnx import dependencies
from sadtalker_export.onnx.dependencies import PACKAGE, exporter_digest, sources

ROOT = Path(__file__).resolve().parents[2]
# Modules that an export imports and whose change leaves every graph as it is.
SHAPELESS = {
    "sadtalker_export",
    "sadtalker_export.checkpoint",
    "sadtalker_export.checkpoint.download",  # sha256
    "sadtalker_export.checkpoint.layout",  # which official key is which weight: the weights' digest shows it
    "sadtalker_export.checkpoint.restoration_layout",
    "sadtalker_export.checkpoint.loading",
    "sadtalker_export.checkpoint.synthetic",  # values of the inputs that graphs are traced and checked with
    "sadtalker_export.errors",
    "sadtalker_export.onnx",
    "sadtalker_export.onnx.check",
    "sadtalker_export.onnx.dependencies",
    "sadtalker_export.onnx.repository",
    "sadtalker_export.precision",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Return a copy of the export and training packages that a test may edit."""
    for part in ("export", "training"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("*.safetensors", "*.tar", "*.pyc"))
    return tmp_path


def digest(checkout: Path) -> str:
    return exporter_digest(checkout / "export" / "sadtalker_export")


def test_a_copy_has_the_same_digest(checkout: Path) -> None:
    assert digest(checkout) == exporter_digest()


@pytest.mark.parametrize(
    "file",
    [
        "training/sadtalker_training/loop.py",
        "training/README.md",
        "export/README.md",
        "export/sadtalker_export/demo/README.md",
        "export/sadtalker_export/cli.py",
        "export/sadtalker_export/commands/onnx.py",
        "export/sadtalker_export/tensorrt/engine.py",
        "export/sadtalker_export/parity/sadtalker.py",
    ],
)
def test_other_files_leave_an_export_valid(file: str, checkout: Path) -> None:
    before = digest(checkout)
    path = checkout / file
    path.write_text(path.read_text().replace('"""', '"""Reworded. ', 1) + "\n")
    assert digest(checkout) == before


@pytest.mark.parametrize(
    "file",
    ["networks/motion.py", "rewrites/spade.py", "precision/forms.py", "onnx/graph.py", "specs.py", "presets.py"],
)
def test_sources_of_a_graph_invalidate_an_export(file: str, checkout: Path) -> None:
    before = digest(checkout)
    path = checkout / "export" / "sadtalker_export" / file
    path.write_text(path.read_text() + "\nEPSILON = 2e-5\n")
    assert digest(checkout) != before


def test_a_new_network_and_a_renamed_one_invalidate_an_export(checkout: Path) -> None:
    networks = checkout / "export" / "sadtalker_export" / "networks"
    before = digest(checkout)
    (networks / "another.py").touch()
    added = digest(checkout)
    (networks / "another.py").rename(networks / "one.py")
    assert len({before, added, digest(checkout)}) == 3


@pytest.mark.parametrize("distribution", dependencies.DISTRIBUTIONS)
def test_another_version_of_the_exporter_invalidates_an_export(
    distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, installed = exporter_digest(), dependencies.version
    monkeypatch.setattr(dependencies, "version", lambda name: "99.0" if name == distribution else installed(name))
    assert exporter_digest() != before


def test_builds_of_one_pytorch_for_different_devices_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for local in ("", "+cpu", "+cu130"):
        monkeypatch.setattr(dependencies, "version", lambda name, local=local: f"2.13.0{local}")
        digests.add(exporter_digest())
    assert len(digests) == 1


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"networks/\*\.py: no such source"):
        sources(tmp_path)


def test_every_module_that_an_export_imports_is_named_or_known_to_leave_graphs_alone() -> None:
    code = "import sys, sadtalker_export.onnx.repository, sadtalker_export.checkpoint.loading; print(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    imported = {name for name in listed.stdout.split() if name.split(".")[0] == "sadtalker_export"}
    named = set()
    for path in sources():
        parts = ("sadtalker_export", *path.relative_to(PACKAGE).with_suffix("").parts)
        named.add(".".join(parts).removesuffix(".__init__"))
    assert imported - named == SHAPELESS
    assert not any(name.startswith("sadtalker_training") for name in listed.stdout.split())

"""Every file that quotes the version quotes the same one, and `make release` sets them all."""

import re
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from sadtalker_runtime.version import VERSION

PROGRAMS = [entry for entry in distribution("sadtalker-triton").entry_points if entry.group == "console_scripts"]
ROOT = Path(__file__).resolve().parents[1]
COPIED = "CHANGELOG.md", "README.md", "docs", "k8s", "model_repository", "server", "tools"
IGNORED = shutil.ignore_patterns("__pycache__", "*.onnx", "*.plan", "exported.json", "*.png")
QUOTE = re.compile(r"(?:VERSION = \"|sadtalker(?:-export|-gateway)?:|newTag: |version: |makes `)(\d+\.\d+\.\d+)")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of everything that quotes the version, with a change log that awaits the next one."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=IGNORED)
        else:
            shutil.copy(source, target)
    log = tmp_path / "CHANGELOG.md"
    log.write_text(log.read_text().replace("\n## [", "\n## [7.8.9] - unreleased\n\n- Nothing.\n\n## [", 1))
    return tmp_path


def release(checkout: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/release.py", version, "--no-render"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=60)


def quoted(root: Path) -> dict[str, set[str]]:
    """Return the versions in the files that speak of a release: images' tags, labels, the runtime, the repository."""
    files = [root / "server/sadtalker_runtime/version.py", root / "k8s/README.md"]
    files += sorted(root.glob("k8s/overlays/*/kustomization.yaml"))
    found = {str(path.relative_to(root)): set(QUOTE.findall(path.read_text())) for path in files}
    for path in root.glob("model_repository/sadtalker/**/*.pbtxt"):
        found[str(path.relative_to(root))] = set(
            re.findall(r'key: "version" value: \{ string_value: "([^"]*)"', path.read_text())
        )
    return {path: versions for path, versions in found.items() if versions or path.startswith("model_repository")}


def test_all_quotes_agree() -> None:
    found = quoted(ROOT)
    assert len(found) > 5
    assert found == {key: {VERSION} for key in found}


def test_a_release_sets_every_quote(checkout: Path) -> None:
    before = quoted(checkout)
    done = release(checkout, "7.8.9")
    assert done.returncode == 0, done.stderr
    after = quoted(checkout)
    assert after == {key: {"7.8.9"} for key in before}
    assert re.search(r"^## \[7\.8\.9\] - \d{4}-\d\d-\d\d$", (checkout / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert "git tag v7.8.9" in done.stdout


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("7.8", "VERSION: expected x.y.z, got '7.8'"),
        ("7.9.0", "expected a section '## [7.9.0] - unreleased', found none"),
    ],
)
def test_a_release_without_a_version_or_its_changes_is_refused(checkout: Path, version: str, told: str) -> None:
    before = quoted(checkout)
    done = release(checkout, version)
    assert done.returncode == 1 and told in done.stderr
    assert quoted(checkout) == before


def test_the_change_log_has_a_section_for_this_version() -> None:
    sections = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d|unreleased)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    versions = [tuple(map(int, version.split("."))) for version, _ in sections]
    assert versions == sorted(versions, reverse=True), "the newest first"
    assert VERSION in dict(sections)
    assert [date for _, date in sections].count("unreleased") <= 1


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_every_command_tells_its_version(
    program: EntryPoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [program.name, "--version"])
    with pytest.raises(SystemExit) as ended:
        program.load()()
    assert (ended.value.code, capsys.readouterr().out) == (0, f"{program.name} {VERSION}\n")

"""`sadtalker-server init`: what it writes, what it leaves alone, what it refuses."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from sadtalker_runtime.manifest import BF16_MODEL, MANIFEST, read_manifest, write_manifest
from sadtalker_runtime.processor import Processor
from sadtalker_server import _initialization, cli
from sadtalker_server._errors import LaunchError
from sadtalker_server._initialization import initialize
from sadtalker_server._precision import fastest_configuration
from sadtalker_server._repository import check_repository

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Path("motion") / "config.pbtxt"
NETWORK = Path("motion") / "1" / "model.onnx"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = tmp_path_factory.mktemp("pristine") / "deep" / "repository"
    initialize(repository)
    return repository


@pytest.fixture
def repository(pristine: Path, tmp_path: Path) -> Path:
    """Return a repository that a test may change."""
    return Path(shutil.copytree(pristine, tmp_path / "repository"))


def content(repository: Path) -> dict[Path, bytes]:
    return {path.relative_to(repository): path.read_bytes() for path in repository.rglob("*") if path.is_file()}


def refusal(repository: Path) -> str:
    """Return the error of an initialisation that must change nothing."""
    before = content(repository)
    with pytest.raises(LaunchError) as refused:
        initialize(repository)
    assert content(repository) == before
    return str(refused.value)


def test_it_has_the_checkout_s_configurations_and_networks_that_fit_them(pristine: Path) -> None:
    checkout = ROOT / "model_repository"
    patterns = ("*/config.pbtxt", "*/configs/*.pbtxt", "*/1/model.py")
    texts = {path.relative_to(checkout): path.read_bytes() for each in patterns for path in checkout.glob(each)}
    manifest = read_manifest(pristine)
    networks = {path.relative_to(pristine) for path in manifest.paths(pristine)}
    assert len(manifest.models) == 7
    written = content(pristine)
    assert written.keys() == texts.keys() | networks | {Path(MANIFEST)}
    assert {path: written[path] for path in texts} == texts
    assert not any(path.is_symlink() for path in pristine.rglob("*"))
    assert check_repository(pristine, None).preset == "demo"
    assert all((pristine / path.parts[0] / "1").is_dir() for path in texts)


def test_repeated_it_does_nothing(repository: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    done = initialize(repository)
    assert (done.written, done.kept) == (0, False)
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == times


def test_repeated_it_completes(repository: Path) -> None:
    before = content(repository)
    for path in (CONFIG, NETWORK, Path(MANIFEST)):
        (repository / path).unlink()
    assert initialize(repository).written == 3
    assert content(repository) == before


def test_what_was_edited_is_replaced_only_by_force(repository: Path) -> None:
    before = content(repository)
    with (repository / CONFIG).open("a") as file:
        file.write("# edited\n")
    assert refusal(repository) == (
        f"{repository} differs from what this version writes in 1 file: {CONFIG}. "
        "Nothing was changed; --force replaces them, or take another folder"
    )
    assert initialize(repository, force=True).written == 1
    assert content(repository) == before


def test_networks_of_other_weights_stay(repository: Path) -> None:
    (repository / NETWORK).write_bytes(b"official")
    exported = read_manifest(repository)
    models = {**exported.models, "motion": {"model.onnx": replace(exported.models["motion"]["model.onnx"], bytes=8)}}
    write_manifest(repository, replace(exported, preset="official", models=models))
    before = content(repository)
    for force in (False, True):
        done = initialize(repository, force=force)
        assert (done.written, done.kept, done.manifest.preset) == (0, True, "official")
        assert content(repository) == before


def test_other_demo_networks_are_replaced_only_by_force(repository: Path) -> None:
    before = content(repository)
    write_manifest(repository, replace(read_manifest(repository), exporter="0" * 64))
    assert initialize(repository).kept
    assert content(repository) != before
    assert not initialize(repository, force=True).kept
    assert content(repository) == before


def test_the_files_of_more_precisions_complete_the_same_networks(repository: Path) -> None:
    before, manifest = content(repository), read_manifest(repository)
    fp32 = {model: {"model.onnx": files["model.onnx"]} for model, files in manifest.models.items()}
    bf16 = repository / "face_renderer" / "1" / BF16_MODEL
    bf16.unlink()
    write_manifest(repository, replace(manifest, precision="fp32", gates={}, models=fp32))
    done = initialize(repository)
    assert (done.written, done.kept) == (2, False)
    assert content(repository) == before
    bf16.unlink()
    fp32["motion"] = {"model.onnx": replace(fp32["motion"]["model.onnx"], sha256="0" * 64)}
    write_manifest(repository, replace(manifest, precision="fp32", gates={}, models=fp32))
    assert initialize(repository).kept
    assert not bf16.exists()


@pytest.mark.parametrize(("extension", "variant"), [("avx512_bf16", "bf16"), ("amx_bf16", "bf16"), ("avx512f", None)])
def test_the_demo_is_served_in_what_the_processor_computes_fastest(
    extension: str, variant: str | None, pristine: Path
) -> None:
    assert fastest_configuration(pristine, Processor("", (extension,), 2)) == variant
    assert check_repository(pristine, variant).preset == "demo"


def test_incomplete_networks_and_those_that_nothing_describes_are_replaced_only_by_force(repository: Path) -> None:
    before = content(repository)
    (repository / NETWORK).write_bytes(b"broken")
    enhancer = repository / "face_enhancer" / "1" / "model.onnx"
    enhancer.write_bytes(b"of no export")
    text = refusal(repository)
    assert f"in 3 files: {MANIFEST}, {enhancer.relative_to(repository)}, {NETWORK}. " in text
    initialize(repository, force=True)
    assert content(repository) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert refusal(tmp_path) == (
        f"{tmp_path} is neither empty nor a model repository of ours (it has no sadtalker/config.pbtxt): "
        "give a new or an empty folder"
    )
    with pytest.raises(LaunchError, match=r"thesis.tex is a file; expected a folder"):
        initialize(tmp_path / "thesis.tex")


def test_an_incomplete_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(_initialization._packaged("sadtalker_runtime", "demo"), bundle)
    packaged = _initialization._packaged
    monkeypatch.setattr(
        _initialization, "_packaged", lambda package, name: bundle if name == "demo" else packaged(package, name)
    )
    packed = bundle / "motion.xz"
    packed.write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(LaunchError, match=r"this installation is incomplete: .*motion\.xz cannot be read"):
        initialize(tmp_path / "repository")
    assert not (tmp_path / "repository" / MANIFEST).exists()
    (bundle / MANIFEST).unlink()
    with pytest.raises(LaunchError, match=r"this installation is incomplete: .*exported.json is missing"):
        initialize(tmp_path / "another")
    assert not (tmp_path / "another").exists()


def test_the_command_says_what_to_type_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = tmp_path / "repository"
    assert cli.main(["init", str(repository)]) == 0
    first, serve, animate = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{repository}: ") and first.endswith("; 7 networks (demo, bf16, 256 pixels)")
    assert serve.endswith(f"sadtalker-server --model-repository {repository}")
    portrait, speech = animate.split()[3:5]
    assert Path(portrait).stat().st_size > 10_000
    assert Path(speech).stat().st_size > 10_000
    (repository / "sadtalker" / "config.pbtxt").unlink()
    assert cli.main(["init", str(repository)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("sadtalker-server: ") and captured.err.count("\n") == 1


def test_make_demo_installs_no_pytorch_and_others_export() -> None:
    def plan(*arguments: str) -> str:
        command = ["make", "--dry-run", "--always-make", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout

    for target in ("demo", "serve"):
        assert "--editable '.[server]'" in plan(target)
        assert "sadtalker-server init model_repository" in plan(target)
        assert "sadtalker-export" not in plan(target) and "[dev]" not in plan(target)
        exporting = plan(target, "WEIGHTS=official")
        assert "sadtalker-export onnx --weights official" in exporting and "init" not in exporting


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["init", str(tmp_path / "file" / "repository")]) == 1
    assert capsys.readouterr().err.startswith("sadtalker-server: [Errno 20] Not a directory")

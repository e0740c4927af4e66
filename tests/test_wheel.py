"""The wheel stands alone: installed without the checkout it writes a repository, serves it and makes a video."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD_INPUTS = ("client", "server", "export", "training", "gateway", "integrations", "model_repository", "examples")
FRAMES = 10
MODULES = ("sadtalker_client", "sadtalker_server", "sadtalker_runtime", "sadtalker_export", "sadtalker_training")
PACKAGED = "sadtalker_server/model_repository/"


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the wheel is built from, as a checkout has it in which networks were exported."""
    copy = tmp_path_factory.mktemp("sources")
    for name in BUILD_INPUTS:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.onnx", "node_modules")
            shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignored)
    for path in (*ROOT.glob("*.toml"), *ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "NOTICE"):
        shutil.copy(path, copy)
    (copy / "model_repository" / "motion" / "1" / "model.onnx").write_bytes(b"exported")
    (copy / "model_repository" / "exported.json").write_text("{}")
    return copy


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sources)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` of an environment with the wheel and with the packages of this one that are not the project's.

    Folders that a .pth file names are searched, but .pth files in them are not read, and those are what makes an
    editable installation importable.
    """
    environment = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(environment, symlinks=True)
    pip("--python", environment / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    (packages,) = environment.glob("lib/python*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    return environment / "bin"


def run(programs: Path, folder: Path, program: str, *arguments: str | Path) -> str:
    environment = {"PATH": f"{programs}:{os.defpath}", "HOME": str(folder)}
    command = [programs / program, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_wheel_has_every_configuration_and_no_exported_network(wheel: Path) -> None:
    repository = ROOT / "model_repository"
    patterns = ("*/config.pbtxt", "*/configs/*.pbtxt", "*/1/model.py")
    expected = {PACKAGED + p.relative_to(repository).as_posix() for each in patterns for p in repository.glob(each)}
    assert {name for name in names(wheel) if name.startswith(PACKAGED)} == expected
    assert not [name for name in names(wheel) if name.endswith((".onnx", ".plan"))]
    assert wheel.stat().st_size < 18e6


def test_a_source_distribution_gives_the_same_wheel(sources: Path, wheel: Path, tmp_path: Path) -> None:
    build = f"import setuptools.build_meta as backend; backend.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=sources, capture_output=True, timeout=240, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, archive)
    (built,) = tmp_path.glob("*.whl")
    assert names(built) == names(wheel)


def test_the_installed_modules_are_the_wheel_s(programs: Path, tmp_path: Path) -> None:
    code = f"import importlib; print(*(importlib.import_module(name).__file__ for name in {MODULES}), sep='\\n')"
    found = run(programs, tmp_path, "python", "-c", code).splitlines()
    assert len(found) == len(MODULES)
    assert all(Path(path).is_relative_to(programs.parent) for path in found)
    searched = run(programs, tmp_path, "python", "-c", "import sys; print(*sys.path, sep='\\n')").splitlines()
    assert not {str(ROOT / name) for name in BUILD_INPUTS} & set(searched)


@pytest.fixture
def served(programs: Path, tmp_path: Path) -> Iterator[tuple[str, Path, Path]]:
    """Run a server over the repository that the wheel wrote; yields its gRPC address, the portrait, 0.4 s of speech."""
    tried = run(programs, tmp_path, "sadtalker-server", "init", "repository").splitlines()[-1].split()
    portrait, whole, speech = Path(tried[3]), Path(tried[4]), tmp_path / "speech.wav"
    with wave.open(str(whole)) as source, wave.open(str(speech), "wb") as part:
        part.setparams(source.getparams())
        part.writeframes(source.readframes(round(source.getframerate() * FRAMES / 25)))
    ports = ("--grpc-port", "0", "--http-port", "0")
    command = [programs / "sadtalker-server", "--model-repository", "repository", *ports, "--log-file", "server.log"]
    environment = {"PATH": os.defpath, "HOME": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        deadline, address = time.monotonic() + 200, ""
        while not address and time.monotonic() < deadline and (line := process.stdout.readline()):
            address = line.split()[-1] if "gRPC" in line else ""
        assert address, (tmp_path / "server.log").read_text()[-4000:]
        yield address, portrait, speech
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_makes_a_video_in_an_empty_folder(served: tuple[str, Path, Path], programs: Path, tmp_path: Path) -> None:
    address, portrait, speech = served
    assert portrait.is_relative_to(programs.parent)
    run(programs, tmp_path, "sadtalker", "animate", portrait, speech, "-o", "video.mp4", "--url", address)
    with av.open(io.BytesIO((tmp_path / "video.mp4").read_bytes())) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert len(video.streams.audio) == 1
    assert len(pictures) == FRAMES
    assert pictures[0].shape == (256, 256, 3)
    assert pictures[0].std() > 20

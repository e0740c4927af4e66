"""Folders and shared memory of dead launchers are removed, those of living ones never."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from sadtalker_server._workspace import Workspace, sweep

HOLD = """
import sys, subprocess
from sadtalker_server._workspace import Workspace
workspace = Workspace()
print(workspace.path, workspace.region_prefix, flush=True)
if "child" in sys.argv:
    child = subprocess.Popen(["sleep", "60"], pass_fds=[workspace.lock], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def launcher(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_killed_launcher_is_swept_and_a_living_one_is_not() -> None:
    with launcher() as process:
        folder, prefix = process.stdout.readline().split()
        region = Path("/dev/shm", f"{prefix}region")
        region.write_bytes(b"tensors")
        (Path(folder) / "backends").mkdir()
        assert sweep() == []
        process.kill()
        process.wait()
        assert region.exists() and Path(folder).exists()
        assert sweep() == [Path(folder)]
        assert not region.exists() and not Path(folder).exists()


def test_a_launcher_whose_children_live_is_not_swept() -> None:
    with launcher("child") as process:
        folder = Path(process.stdout.readline().split()[0])
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        assert sweep() == [] and folder.exists()
        os.kill(child, 9)
        while not sweep():
            pass
        assert not folder.exists()


@pytest.mark.parametrize("is_orphan", [True, False])
def test_processes_that_outlived_their_tritonserver_are_swept(tmp_path: Path, is_orphan: bool) -> None:
    """A stub whose tritonserver is killed while a model computes may wait for ever, with the lock and its memory."""
    model = tmp_path / "models" / "renderer" / "1" / "model.py"
    model.parent.mkdir(parents=True)
    model.write_text("read line\n")
    with launcher("child") as process:
        folder, prefix = process.stdout.readline().split()
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        os.kill(child, 9)
        lock = os.open(Path(folder, "owner"), os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX)
        parent = 4_000_000 if is_orphan else os.getpid()
        arguments = ["triton_python_backend_stub", str(model), f"{prefix}region", "1048576", "1048576", str(parent)]
        stub = subprocess.Popen(arguments, executable="/bin/sh", stdin=subprocess.PIPE, pass_fds=[lock])
        os.close(lock)
        try:
            assert sweep() == ([Path(folder)] if is_orphan else [])
            assert (stub.poll() is None) is not is_orphan
        finally:
            stub.kill()
            stub.wait()
        assert is_orphan or sweep() == [Path(folder)]


def test_strange_folders_are_left_alone(temporary: Path) -> None:
    """One that is just being made, one of an older launcher, one whose owner names the memory of others."""
    (temporary / "sadtalker-server-new").mkdir()
    (temporary / "sadtalker-server-x.log").touch()
    foreign = Path("/dev/shm", f"foreign_{os.getpid()}")
    foreign.touch()
    try:
        evil = temporary / "sadtalker-server-evil"
        evil.mkdir()
        (evil / "owner").write_text("sadtalker_/../foreign_")
        linked = temporary / "sadtalker-server-linked"
        linked.mkdir()
        (linked / "owner").symlink_to(temporary / "sadtalker-server-x.log")
        assert sweep() == [evil]
        assert foreign.exists() and linked.exists() and (temporary / "sadtalker-server-new").exists()
    finally:
        foreign.unlink()


def test_a_workspace_leaves_nothing() -> None:
    workspace = Workspace()
    region = Path("/dev/shm", f"{workspace.region_prefix}region")
    region.touch()
    workspace.remove()
    assert not region.exists() and not workspace.path.exists()

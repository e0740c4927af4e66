"""Folders and shared memory of dead launchers are removed, those of living ones never."""

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

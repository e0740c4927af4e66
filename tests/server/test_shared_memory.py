"""Shared memory that is too small is said at the start, one that is full makes the server unready, and then end."""

import errno
import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import throwaway_repository as throwaway
from sadtalker_server import LaunchError, Server, _orders, _shared_memory
from sadtalker_server._errors import unwritable
from sadtalker_server._orders import BREAK, DRAIN, NONE, STOP, write_order
from sadtalker_server._shared_memory import SharedMemory, check_shared_memory
from test_faults import rest_of, status, stub_of
from test_server_process import wait_until
from throwaway_requests import video

MB = 1 << 20


class Room(SimpleNamespace):
    """A /dev/shm that seems to have `free` of `size` MB."""

    def __call__(self) -> tuple[int, int]:
        return self.free * MB, self.size * MB


@pytest.fixture
def room() -> Room:
    return Room(free=3000, size=4000)


def test_too_little_is_said_at_the_start(room: Room) -> None:
    check_shared_memory(room)
    room.free = room.size = 64  # what a container has by default
    with pytest.raises(
        LaunchError, match=r"at least 128 MB free in /dev/shm, better 1 GB, got 64 MB of 64 MB.*--shm-size"
    ):
        check_shared_memory(room)


def test_a_missing_folder_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shared_memory, "_FOLDER", "/nowhere")
    with pytest.raises(LaunchError, match="/nowhere cannot be used: No such file"):
        check_shared_memory()


def test_it_is_given_up_when_it_stays_full(room: Room) -> None:
    clock = SimpleNamespace(now=0.0)
    memory, given_up = SharedMemory(room, lambda: clock.now), []
    for now, free in ((0, 10), (10, 0), (60, 0), (65, 10), (66, 0), (125, 0), (127, 0)):
        clock.now, room.free = float(now), free
        given_up.append(memory.is_given_up())
    assert given_up == [False] * 6 + [True]


def test_a_server_whose_memory_is_full_is_not_ready_and_ends_if_it_stays_so(
    models: Path, tmp_path: Path, room: Room
) -> None:
    server = Server(models, tritonserver="embedded", log_file=tmp_path / "log")
    server._shared_memory = memory = SharedMemory(room)
    with pytest.raises(LaunchError, match="shared memory is full: 4000 MB in /dev/shm are too few"), server:
        steps = video(server.grpc_url, steps=1000)
        assert next(steps) == 0
        room.free = 0
        assert status(f"{server.http_url}/readyz")[0] == 503
        assert status(f"{server.http_url}/healthz")[0] == 200, "a full memory may become free again"
        room.free = 100
        assert status(f"{server.http_url}/readyz") == (200, "ready\n")
        memory._patience = 0.5
        room.free = 0
        assert "the server is stopping" in str(rest_of(steps))
        server.wait()


def test_orders_overwrite_each_other_in_place(tmp_path: Path) -> None:
    file, inodes = tmp_path / "orders", set()
    for order in (NONE, DRAIN, STOP, BREAK, NONE):
        write_order(file, order)
        assert file.read_text() == order
        inodes.add(file.stat().st_ino)
    assert len(inodes) == 1, "a new file asks for room on a disk that may be full"


def test_a_disk_that_takes_no_order_keeps_no_dead_server_alive(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    server = Server(models, tritonserver="embedded", log_file=tmp_path / "log")
    with pytest.raises(LaunchError, match="the process of product died"), server:
        monkeypatch.setattr(_orders, "write_order", full)
        os.kill(stub_of(server.pid, "product"), 9)
        wait_until(server._ended.is_set, secs=30)


def test_a_full_disk_at_the_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = os.strerror(errno.ENOSPC)
    told = f"temporary files cannot be written to {tempfile.gettempdir()}: {reason}"
    for error in (OSError(errno.ENOSPC, reason, "x"), shutil.Error([("a", "b", reason)])):
        assert str(unwritable(error)) == told
    assert unwritable(OSError(errno.EACCES, "no")) is None and unwritable(KeyboardInterrupt()) is None

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, reason)

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    throwaway.add_video_model(tmp_path / "models")
    with pytest.raises(LaunchError, match="temporary files cannot be written"), Server(tmp_path / "models"):
        pass

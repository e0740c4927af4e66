"""Faults by exhausted resources: `python benchmarks/scarcity.py`, as root of a Linux machine.

Starts `sadtalker-server --restart=always` in a mount namespace of its own, with its own small /dev/shm and temporary
folder, and in its own memory cgroup (version 1; on others the last fault is not tried). During a video each is used up:
/dev/shm is filled by a file, so is the disk (then a model's process is killed), and the kernel's OOM killer is called
by an upload into too little memory. Writes benchmarks/results/scarcity.json; exits 1 if a caller was left hanging.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hostile
from attacked_server import valid_request
from faults import PATIENCE_SECONDS, PORTRAIT, ROOT, Launcher
from hardware import describe
from raw_requests import UnansweredError, send, text
from sadtalker_client import DeadlineExceededError, SadTalkerClient, SadTalkerError
from sadtalker_server._processes import find_stubs
from tritonclient.utils import InferenceServerException

RESULT = ROOT / "benchmarks" / "results" / "scarcity.json"
CGROUPS = Path("/sys/fs/cgroup/memory")
SHARED, DISK = "600m", "200m"
SHORT = hostile.many_channels(1, 16_000, 0.4)  # speech
SPARE_BYTES, UPLOAD_BYTES = 20 << 20, 120_000_000
SHELL = """
mount -t tmpfs -o size={shared} tmpfs /dev/shm && mount -t tmpfs -o size={disk} tmpfs {folder} || exit 1
[ -z "{cgroup}" ] || echo $$ > {cgroup}/cgroup.procs || exit 1
export TMPDIR={folder}
exec "$@"
"""


class Scarce(Launcher):
    """A ready server with memory, shared memory and temporary disk of its own."""

    def __init__(self, repository: Path, folder: Path, cgroup: Path | None) -> None:
        script = SHELL.format(shared=SHARED, disk=DISK, folder=folder, cgroup=cgroup or "")
        super().__init__(repository, prefix=["unshare", "--mount", "sh", "-c", script, "sh"])
        root = Path(f"/proc/{self.process.pid}/root")
        self.shared, self.disk, self.cgroup = root / "dev/shm", root / str(folder).lstrip("/"), cgroup


def full_shared_memory(server: Scarce) -> Callable[[], None]:
    """Fill /dev/shm."""
    return fill(server.shared)


def full_disk(server: Scarce) -> Callable[[], None]:
    """Fill the disk of temporary files and kill a process."""
    fill(server.disk)
    victim = next(stub.pid for stub in find_stubs(server.tritonserver().pid) if stub.model == "portrait_crop")
    os.kill(victim, signal.SIGKILL)
    return lambda: None  # the disk stays full: the server has to start again on it


def out_of_memory(server: Scarce) -> Callable[[], None]:
    """Leave 20 MB of memory and send an upload."""
    assert server.cgroup is not None
    used = int((server.cgroup / "memory.usage_in_bytes").read_text())
    (server.cgroup / "memory.limit_in_bytes").write_text(str(used + SPARE_BYTES))

    def upload() -> None:
        with suppress(InferenceServerException, UnansweredError):  # the server dies of it
            send(server.grpc, "sadtalker", valid_request() | {"audio": text(bytes(UPLOAD_BYTES))}, patience=60)

    threading.Thread(target=upload, daemon=True).start()
    return lambda: None


def fill(folder: Path) -> Callable[[], None]:
    """Fill a file system with a file, and return a function that removes it."""
    file = folder / "filler"
    with file.open("wb", buffering=0) as filler:
        block = bytes(1 << 20)
        while block:
            try:
                filler.write(block)
            except OSError:
                block = block[: len(block) // 2]
    return file.unlink


FAULTS: dict[str, Callable[[Scarce], Callable[[], None]]] = {
    "full /dev/shm": full_shared_memory,
    "full disk, and a process dies": full_disk,
    "the kernel's OOM killer": out_of_memory,
}


def try_fault(name: str, repository: Path, folder: Path, cgroup: Path | None) -> dict[str, object]:
    """Exhaust a resource during a video, and release it once the caller has got the error."""
    with Scarce(repository, folder, cgroup) as server, SadTalkerClient(server.grpc, timeout=PATIENCE_SECONDS) as client:
        for _ in client.animate(PORTRAIT, SHORT):  # pools and caches are warm
            pass
        video = client.animate(PORTRAIT, idle=60.0)
        next(video)
        killed_before = oom_kills(cgroup)
        start = time.monotonic()
        give_back = FAULTS[name](server)
        unready = threading.Thread(target=wait_for, args=(server, False))
        unready.start()
        seen = "the whole video"
        try:
            for _ in video:
                pass
        except DeadlineExceededError:
            seen = "nothing"
        except SadTalkerError as error:
            seen = f"{type(error).__name__}: {str(error).partition(': ')[2] or error}"
        told = time.monotonic() - start
        unready.join()
        lasted = time.monotonic() - start
        given_back = time.monotonic()
        give_back()
        wait_for(server, True)
        ready = time.monotonic()
        with SadTalkerClient(
            server.grpc, timeout=PATIENCE_SECONDS
        ) as again:  # the first waits before it connects again
            for _ in again.animate(PORTRAIT, SHORT):
                pass
    return {
        "fault": name,
        "caller_sees": seen,
        "after_seconds": round(told, 2),
        "told_and_not_ready_after_seconds": round(lasted, 2),
        "ready_again_after_seconds": round(ready - given_back, 2),
        "kernel_killed": oom_kills(cgroup) - killed_before,
    }


def wait_for(server: Scarce, ready: bool) -> None:
    """Return once the readiness is this."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while server.is_ready() is not ready:
        if time.monotonic() > deadline:
            raise TimeoutError(f"readiness has not become {ready}")
        time.sleep(0.02)


def oom_kills(cgroup: Path | None) -> int:
    """Return how many processes the kernel has killed for memory."""
    if cgroup is None:
        return 0
    lines = (cgroup / "memory.oom_control").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("oom_kill ")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    parser.add_argument("--only", nargs="+", choices=FAULTS, help="nothing is written then")
    args = parser.parse_args()
    machine, faults = describe(), []
    preset = json.loads((args.repository / "exported.json").read_text())["preset"]
    for name in args.only or FAULTS:
        cgroup = CGROUPS / f"sadtalker_scarcity_{os.getpid()}"
        if not (CGROUPS / "memory.limit_in_bytes").exists():
            if FAULTS[name] is out_of_memory:
                print(f"not tried: {name}, without memory cgroups of version 1")  # noqa: T201
                continue
            cgroup = None
        else:
            cgroup.mkdir()
        with tempfile.TemporaryDirectory() as folder:
            try:
                faults.append(try_fault(name, args.repository, Path(folder), cgroup))
            finally:
                if cgroup is not None:
                    remove(cgroup)
        print(json.dumps(faults[-1]), flush=True)  # noqa: T201
    what = f"preset {preset}, --restart=always; /dev/shm {SHARED}, disk {DISK}"
    if not args.only:
        RESULT.write_text(json.dumps({"what": what, **machine, "faults": faults}, indent=1) + "\n")
    return int(any(fault["caller_sees"] == "nothing" for fault in faults))


def remove(cgroup: Path) -> None:
    """Remove a cgroup, once its last processes are gone."""
    for _ in range(100):
        try:
            cgroup.rmdir()
            return
        except OSError:
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())

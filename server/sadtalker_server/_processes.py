"""Reads from /proc which processes of the Python backend tritonserver has started, and which of them are dead.

tritonserver neither restarts nor reports a model's process that dies, and may leave it behind as a zombie.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Stub:
    """The process of one instance of a model of the Python backend."""

    pid: int
    start_ticks: int
    """Start time in clock ticks since boot: tells the process from a later one with the same id."""
    model: str


def find_stubs(parent: int) -> list[Stub]:
    """Return the living stubs whose parent is the process `parent`; processes that stubs start are not included."""
    return [stub for stub, stubs_parent, _ in _all_stubs() if stubs_parent == parent]


def find_orphans(region_prefix: str) -> list[int]:
    """Return the process ids of living stubs with such regions whose parent, tritonserver, is dead.

    A stub ends with its tritonserver, but not always: where that is killed while a model computes, one thread of the
    stub waits for ever for its answer to be taken, and keeps from Python the other one, which would end it
    (python_backend of 2.51: `Stub::ProcessRequests` and `Stub::~Stub`).
    """
    return [
        stub.pid
        for stub, parent, arguments in _all_stubs()
        if len(arguments) > 4 and arguments[1].startswith(region_prefix) and arguments[4] != str(parent)
    ]


def _all_stubs() -> Iterator[tuple[Stub, int, list[str]]]:
    """Yield the living stubs, each with its parent and its arguments.

    These are the model's file, the name of the shared memory, its size and its growth, tritonserver's process id, ...
    """
    for folder in _PROC.glob("[0-9]*"):
        pid = int(folder.name)
        if (stat := _stat(pid)) is None or not stat.alive:
            continue
        try:
            command = (folder / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue
        if Path(command[0]).name == _STUB and len(command) > 1:
            folders = Path(command[1]).parents  # the file is <model>/<version>/<file>
            if len(folders) > 1:  # the arguments of one that is just ending may be blank
                yield Stub(pid, stat.start_ticks, folders[1].name), stat.parent, command[1:]


def is_alive(stub: Stub) -> bool:
    """Return whether the process still runs: neither gone nor a zombie."""
    stat = _stat(stub.pid)
    return stat is not None and stat.alive and stat.start_ticks == stub.start_ticks


@dataclass(frozen=True)
class _Stat:
    parent: int
    start_ticks: int
    alive: bool


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # from the third field on; the second, the name, may contain anything
    return _Stat(parent=int(fields[1]), start_ticks=int(fields[19]), alive=fields[0] not in "ZX")

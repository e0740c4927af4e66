"""Memory that the server keeps per video, by process and by way of allocating: `python benchmarks/video_memory.py`.

Sends short videos over tiny networks to a server for each way, to one after the other, so that what else the machine
does falls on all of them. Samples each process's private memory (RssAnon) and shared memory, and asks the malloc of the
model `sadtalker` how much of its memory is in use and how much lies free. Writes benchmarks/results/video_memory.json.
"""

import argparse
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from ctypes.util import find_library
from pathlib import Path

import hostile
import numpy as np
from attacked_server import PORTRAIT, export_tiny, proc_field, shared_memory
from hardware import describe
from PIL import Image
from raw_requests import send, text
from request_memory import environ
from sadtalker_server import Server
from sadtalker_server._processes import find_stubs

RESULT = Path(__file__).resolve().parent / "results" / "video_memory.json"
SAMPLES = 12
NEW_PORTRAIT_EVERY = 10
WAYS: dict[str, dict[str, str]] = {
    "as launched": {},
    "no large pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"},
    "2 arenas": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2"},
    "2 arenas, no large pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0:glibc.malloc.arena_max=2"},
    "mmap from 128 KiB": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=131072"},
}
if jemalloc := find_library("jemalloc"):
    WAYS["jemalloc"] = {"LD_PRELOAD": jemalloc}
ASKED = """
import ctypes, threading, time
from pathlib import Path
from sadtalker_runtime.triton.sadtalker import TritonPythonModel

class Mallinfo(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    _fields_ = [(name, ctypes.c_size_t) for name in names]

def serve(question, answer):
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    while True:
        time.sleep(0.2)
        if question.exists():
            found = mallinfo()
            answer.write_text(f"{{found.uordblks + found.hblkhd}} {{found.fordblks}}")
            question.unlink()

threading.Thread(target=serve, args=(Path("{folder}/question"), Path("{folder}/answer")), daemon=True).start()
"""  # the model `sadtalker` with a thread that tells how many bytes its malloc holds in use, and free


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=2000, help="for each way (2000)")
    parser.add_argument("--workers", type=int, default=2, help="videos at a time (2)")
    parser.add_argument("--way", choices=[*WAYS], action="append", help="default: all")
    parser.add_argument("--repository", type=Path, help="with exported networks; by default tiny ones are made")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    machine = describe()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        networks = args.repository or export_tiny(Path(folder))
        kept = {}
        for number, way in enumerate(args.way or WAYS):
            repository = shutil.copytree(networks, Path(folder) / str(number))
            (repository / "sadtalker" / "1" / "model.py").write_text(ASKED.format(folder=repository))
            with environ(WAYS[way]):
                kept[way] = Kept(running.enter_context(Server(repository, tritonserver="embedded")), repository)
        for sample in range(SAMPLES):
            numbers = range(sample * args.videos // SAMPLES, (sample + 1) * args.videos // SAMPLES)
            for server in kept.values():
                server.make(numbers, args.workers)
            print({name: server.private["sadtalker"][-1] for name, server in kept.items()}, flush=True)  # noqa: T201
    what = f"memory kept per video: {args.videos} videos for each way, {args.workers} at a time, tiny networks"
    found = {name: server.report(args.videos) for name, server in kept.items()}
    args.output.write_text(json.dumps({"what": what, **machine, "kept": found}, indent=1) + "\n")
    return 0


class Kept:
    """A server and what it holds after each sample: lists of MB by process, and the seconds that each sample took."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._pids = {"tritonserver": server.pid} | {stub.model: stub.pid for stub in find_stubs(server.pid)}
        self._make = video_maker(server.grpc_url)
        self.private: dict[str, list[float]] = {name: [] for name in self._pids}
        self.shared: list[float] = []
        self.in_use: list[float] = []
        self.free: list[float] = []
        self.seconds: list[float] = []

    def make(self, numbers: Iterable[int], workers: int) -> None:
        """Make the videos of a sample, then measure."""
        start = time.monotonic()
        with ThreadPoolExecutor(workers) as pool:
            for _ in pool.map(self._make, numbers):
                pass
        self.seconds.append(round(time.monotonic() - start, 2))
        for name, pid in self._pids.items():
            self.private[name].append(proc_field(pid, "status", "RssAnon"))
        self.shared.append(round(shared_memory(self._server), 1))
        in_use, free = self._ask()
        self.in_use.append(round(in_use / 1e6, 1))
        self.free.append(round(free / 1e6, 1))

    def _ask(self) -> tuple[int, int]:
        question, deadline = self._folder / "question", time.monotonic() + 60
        question.touch()
        while question.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the process of sadtalker does not answer")
            time.sleep(0.05)
        in_use, free = map(int, (self._folder / "answer").read_text().split())
        return in_use, free

    def report(self, videos: int) -> dict[str, object]:
        """Return all samples, and the KiB by which each process grew per video over the last two thirds."""
        first = SAMPLES // 3
        later = videos // SAMPLES * (SAMPLES - 1 - first)
        return {
            "kib_per_video": {
                name: round((series[-1] - series[first]) * 1e6 / 1024 / later, 2)
                for name, series in self.private.items()
            },
            "seconds": self.seconds,
            "private_mb": self.private,
            "shared_mb": self.shared,
            "sadtalker_malloc_mb": {"in_use": self.in_use, "free": self.free},
        }


def video_maker(url: str) -> Callable[[int], None]:
    """Return a function that makes one video: of 5 to 20 frames, a poster, or with a portrait never seen before."""
    speech = [text(hostile.many_channels(1, 16_000, seconds)) for seconds in (0.2, 0.4, 0.8)]
    with Image.open(PORTRAIT) as picture:
        pixels = np.asarray(picture.convert("RGB"))

    def new_portrait(number: int) -> bytes:
        changed = pixels.copy()
        changed[0, 0] = number % 256, number // 256 % 256, 0
        file = io.BytesIO()
        Image.fromarray(changed).save(file, "PNG")
        return file.getvalue()

    known = text(PORTRAIT.read_bytes())

    def make(number: int) -> None:
        image = text(new_portrait(number)) if number % NEW_PORTRAIT_EVERY == 1 else known
        inputs = {"image": image, "audio": speech[number % len(speech)]}
        if number % NEW_PORTRAIT_EVERY == 5:
            inputs["poster"] = np.ones((1, 1), bool)
        send(url, "sadtalker", inputs)

    return make


if __name__ == "__main__":
    sys.exit(main())

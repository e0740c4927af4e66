"""Memory that the server keeps per video, by process and by way of allocating: `python benchmarks/video_memory.py`.

Sends short videos over tiny networks, in a server of its own for each way, and samples every process: private memory
(RssAnon), what lies in large pages, and shared memory. `--trace` also counts the objects that the process of
`sadtalker` keeps (tracemalloc) and asks its malloc what is in use, which takes time. Writes
benchmarks/results/video_memory.json.
"""

import argparse
import io
import itertools
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
SAMPLES = 20
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
TRACED = """
import ctypes, threading, time, tracemalloc
from pathlib import Path
from sadtalker_runtime.triton.sadtalker import TritonPythonModel

FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in FIELDS]

def serve(file):
    libc = ctypes.CDLL(None)
    libc.mallinfo2.restype = Mallinfo
    tracemalloc.start(4)
    before = None
    while True:
        time.sleep(0.2)
        if not file.exists():
            continue
        trimmed = file.read_text() == "trim"
        if trimmed:
            libc.malloc_trim(0)
        info = libc.mallinfo2()
        snapshot = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(False, tracemalloc.__file__)])
        lines = snapshot.compare_to(before, "lineno")[:12] if before else []
        before = before or snapshot
        text = f"{info.uordblks + info.hblkhd} {info.fordblks} {tracemalloc.get_traced_memory()[0]}\\n"
        file.with_suffix(".answer").write_text(text + "\\n".join(map(str, lines)))
        file.unlink()

threading.Thread(target=serve, args=(Path("%s"),), daemon=True).start()
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=2000, help="for each way (2000)")
    parser.add_argument("--workers", type=int, default=2, help="videos at a time (2)")
    parser.add_argument("--way", choices=[*WAYS], action="append", help="default: all")
    parser.add_argument("--trace", action="store_true", help="count what the process of sadtalker keeps")
    parser.add_argument("--repository", type=Path, help="with exported networks; by default tiny ones are made")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    kept = {}
    with tempfile.TemporaryDirectory() as folder:
        repository = args.repository or export_tiny(Path(folder))
        asked = Path(folder) / "asked" if args.trace else None
        if asked:
            repository = shutil.copytree(repository, Path(folder) / "traced")
            (repository / "sadtalker" / "1" / "model.py").write_text(TRACED % asked)
        for way in args.way or WAYS:
            with environ(WAYS[way]), Server(repository, tritonserver="embedded") as server:
                kept[way] = measure(server, args.videos, args.workers, asked)
            print(f"{way}: {kept[way]['kib_per_video']}", flush=True)  # noqa: T201
    what = f"private memory kept per video: {args.videos} videos, {args.workers} at a time, tiny networks"
    args.output.write_text(json.dumps({"what": what, **describe(), "kept": kept}, indent=1) + "\n")
    return 0


def measure(server: Server, videos: int, workers: int, asked: Path | None) -> dict[str, object]:
    """Return MB of each process at each sample, and the KiB that it keeps per video over the last two thirds."""
    pids = {"tritonserver": server.pid} | {stub.model: stub.pid for stub in find_stubs(server.pid)}
    private: dict[str, list[float]] = {name: [] for name in pids}
    large: dict[str, list[float]] = {"tritonserver": [], "sadtalker": []}
    shared, traced, start = [], [], time.monotonic()
    make = video_maker(server.grpc_url)
    with ThreadPoolExecutor(workers) as pool:
        numbers = itertools.count()
        for sample in range(SAMPLES):
            for _ in pool.map(make, itertools.islice(numbers, videos // SAMPLES)):
                pass
            for name, pid in pids.items():
                private[name].append(proc_field(pid, "status", "RssAnon"))
            for name in large:
                large[name].append(proc_field(pids[name], "smaps_rollup", "AnonHugePages"))
            shared.append(round(shared_memory(server), 1))
            if asked:
                traced.append(ask(asked, "trim" if sample == SAMPLES - 1 else "look"))
    if asked:
        private["sadtalker"].append(proc_field(pids["sadtalker"], "status", "RssAnon"))
    first = SAMPLES // 3
    later = videos // SAMPLES * (SAMPLES - 1 - first)
    slopes = {
        name: round((series[SAMPLES - 1] - series[first]) * 1e3 / 1.024 / later, 2) for name, series in private.items()
    }
    return {
        "kib_per_video": slopes,
        "seconds": round(time.monotonic() - start, 1),
        "private_mb": private,
        "large_pages_mb": large,
        "shared_mb": shared,
        "traced": traced,
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


def ask(file: Path, question: str) -> dict[str, object]:
    """Return what malloc holds, what it holds free, what Python holds, MB, and the lines that hold more than before."""
    answer = file.with_suffix(".answer")
    answer.unlink(missing_ok=True)
    file.write_text(question)
    deadline = time.monotonic() + 60
    while file.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the process of sadtalker does not answer")
        time.sleep(0.05)
    sizes, *lines = answer.read_text().splitlines()
    in_use, free, python = (round(int(size) / 1e6, 2) for size in sizes.split())
    return {"in_use_mb": in_use, "free_mb": free, "python_mb": python, "lines": lines}


if __name__ == "__main__":
    sys.exit(main())

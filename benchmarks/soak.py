"""Memory of the server while one long video is made: `python benchmarks/soak.py [--seconds 300]`.

Adds up the proportional set size of tritonserver and all of its stub processes, and what lies in /dev/shm, every few
seconds. Writes benchmarks/results/soak.json and .png; exits 1 if memory grew by more than the limit after warming up.
"""

import argparse
import io
import json
import shutil
import sys
import threading
import time
import wave
from pathlib import Path

import matplotlib
import psutil
from hardware import describe
from rich.progress import Progress
from sadtalker_client import SadTalkerClient
from sadtalker_runtime.manifest import read_manifest
from sadtalker_server import Server

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
WARM_UP_SECONDS = 10.0  # of waiting, before growth counts
LIMIT_MB = 200.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=300, help="length of the recording")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    args = parser.parse_args()
    samples: list[tuple[float, float, float, int]] = []  # seconds, MB of memory, MB of /dev/shm, frames
    with Server(args.repository) as server, SadTalkerClient(server.grpc_url) as client, Progress() as bar:
        task = bar.add_task("frames", total=args.seconds * 25)
        frames = 0
        stop = threading.Event()
        start = time.monotonic()

        def watch() -> None:
            while not stop.wait(2):
                samples.append((time.monotonic() - start, memory_mb(server.pid), shared_mb(), frames))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            portrait = ROOT / "examples" / "portrait.jpg"
            for fragment in client.animate(portrait, long_speech(args.seconds)):
                frames = fragment.frames_done
                bar.update(task, completed=frames)
        finally:
            stop.set()
            watcher.join()
    preset = read_manifest(args.repository).preset
    return report(samples, preset, args.seconds)


def report(samples: list[tuple[float, float, float, int]], preset: str, seconds: int) -> int:
    warm = [s for s in samples if s[0] >= WARM_UP_SECONDS and s[3] > 0]
    growth = max(s[1] for s in warm) - warm[0][1]
    shared_growth = max(s[2] for s in warm) - warm[0][2]
    result = {
        "what": f"one video of {seconds} s, preset {preset}, {warm[-1][3]} frames",
        **describe(),
        "memory_mb": {"after_warm_up": warm[0][1], "largest_growth": growth, "limit": LIMIT_MB},
        "dev_shm_mb": {"after_warm_up": warm[0][2], "largest_growth": shared_growth},
        "samples": {"seconds": [round(s[0], 1) for s in samples], "memory_mb": [round(s[1], 1) for s in samples]},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "soak.json").write_text(json.dumps(result, indent=1) + "\n")
    figure, axes = plt.subplots(figsize=(8, 4))
    axes.plot([s[0] for s in samples], [s[1] for s in samples], label="server and its models (PSS)")
    axes.plot([s[0] for s in samples], [s[2] for s in samples], label="/dev/shm, of all on this machine")
    axes.set(xlabel="seconds", ylabel="MB", ylim=(0, None))
    axes.set_title(f"Memory during a {seconds} s video ({preset} preset)")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(RESULTS / "soak.png", dpi=120)
    print(f"memory grew by {growth:.0f} MB (limit {LIMIT_MB:.0f}), /dev/shm by {shared_growth:.0f} MB")  # noqa: T201
    return int(growth > LIMIT_MB)


def memory_mb(pid: int) -> float:
    """Return the proportional set size of a process and its descendants: shared pages count once."""
    total = 0
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def shared_mb() -> float:
    return shutil.disk_usage("/dev/shm").used / 1e6


def long_speech(seconds: float) -> bytes:
    """Return the example speech over and over, as a WAV file."""
    with wave.open(str(ROOT / "examples" / "speech.wav")) as speech:
        parameters, once = speech.getparams(), speech.readframes(speech.getnframes())
    wanted = round(seconds * parameters.framerate) * parameters.sampwidth
    file = io.BytesIO()
    with wave.open(file, "wb") as long:
        long.setparams(parameters)
        long.writeframes((once * (wanted // len(once) + 1))[:wanted])
    return file.getvalue()


if __name__ == "__main__":
    sys.exit(main())

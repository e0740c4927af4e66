"""Step of `make gpu-proof`: live streams from the real server, with the networks on the GPU in ONNX Runtime.

Starts the embedded tritonserver over a model repository, in the variant `cuda`, and asks it through gRPC for 1 to 16
videos at once. A stream is live if every fragment is there when a player that began with the first one needs it.
"""

import argparse
import io
import json
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

from rich.console import Console
from rich.progress import Progress
from sadtalker_client import SadTalkerClient, SadTalkerError
from sadtalker_server import LaunchError, Server

ROOT = Path(__file__).resolve().parents[1]
FRAME_RATE = 25
VARIANTS = {"cuda": "cuda", "cpu": None}
LATE_SECONDS = 0.2
"""A player holds this much before it begins; a stream whose fragments come later than that is not live."""
Arrival = tuple[float, int]
"""When a fragment came, seconds since the request, and how many frames of the video were complete with it."""


def lateness(arrivals: Sequence[Arrival]) -> float:
    """Return by how many seconds the latest fragment misses a player that begins with the first; 0 if none does."""
    start, _ = arrivals[0]
    needed = ((at - start) - done / FRAME_RATE for (_, done), (at, _) in pairwise(arrivals))
    return max([0.0, *needed])


def watch(url: str, portrait: bytes, speech: bytes, patience: float) -> list[Arrival]:
    """Ask for a video and note when its fragments come."""
    with SadTalkerClient(url, timeout=patience) as client:
        start = time.perf_counter()
        return [(time.perf_counter() - start, part.frames_done) for part in client.animate(portrait, speech)]


@contextmanager
def gpu_load(device: str) -> Iterator[list[tuple[float, float]]]:
    """Collect the GPU's utilisation (%) and used memory (MiB) five times a second; nothing on a CPU."""
    samples: list[tuple[float, float]] = []
    if device == "cpu":
        yield samples
        return
    query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
    with subprocess.Popen(query, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout

        def read() -> None:
            for line in lines:
                busy, memory = line.split(",")[:2]
                samples.append((float(busy), float(memory)))

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        try:
            yield samples
        finally:
            process.terminate()
            thread.join(10)


def at_once(url: str, streams: int, portrait: bytes, speech: bytes, patience: float, device: str) -> dict[str, Any]:
    """Measure so many videos at once."""
    with gpu_load(device) as load, ThreadPoolExecutor(streams) as pool:
        start = time.perf_counter()
        futures = [pool.submit(watch, url, portrait, speech, patience) for _ in range(streams)]
        videos = [future.result() for future in futures]
        taken = time.perf_counter() - start
    first = sorted(video[0][0] for video in videos)
    late = [lateness(video) for video in videos]
    frames = sum(video[-1][1] for video in videos)
    return {
        "streams": streams,
        "live": sum(value <= LATE_SECONDS for value in late),
        "frames_per_second": round(frames / taken, 2),
        "first_fragment_seconds": {"median": round(median(first), 3), "worst": round(first[-1], 3)},
        "late_seconds": {"median": round(median(late), 3), "worst": round(max(late), 3)},
        "gpu_busy_percent": round(mean(busy for busy, _ in load), 1) if load else None,
        "gpu_memory_mib": max(memory for _, memory in load) if load else None,
    }


def speech_of(seconds: float) -> bytes:
    """Return a WAV file of the example speech, over and over."""
    file = io.BytesIO()
    with wave.open(str(ROOT / "examples" / "speech.wav")) as once, wave.open(file, "wb") as longer:
        longer.setparams(once.getparams())
        data, wanted = once.readframes(once.getnframes()), round(seconds * once.getframerate()) * once.getsampwidth()
        longer.writeframes((data * (wanted // len(data) + 1))[:wanted])
    return file.getvalue()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, required=True, help="with exported networks")
    parser.add_argument("--device", choices=VARIANTS, default="cuda")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="videos at once, in turn")
    parser.add_argument("--seconds", type=float, default=8, help="length of each video")
    parser.add_argument("--patience", type=float, default=240, help="seconds after which a video is given up")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write, after every measurement")
    args = parser.parse_args(argv)
    console = Console(stderr=True)
    portrait, speech = (ROOT / "examples" / "portrait.jpg").read_bytes(), speech_of(args.seconds)
    preset = json.loads((args.repository / "exported.json").read_text())["preset"]
    what = f"videos of {args.seconds:g} s asked for at once; live: no fragment more than {LATE_SECONDS:g} s late"
    rows: list[dict[str, Any]] = []
    log = args.output.with_suffix(".log")
    variant = VARIANTS[args.device]
    try:
        with (
            Progress(console=console) as bar,
            Server(args.repository, tritonserver="embedded", model_config_name=variant, log_file=log) as server,
        ):
            task = bar.add_task("first video", total=len(args.streams) + 1)
            watch(server.grpc_url, portrait, speech, args.patience)  # the portrait is known from here on
            bar.advance(task)
            for streams in args.streams:
                bar.update(task, description=f"{streams} at once")
                rows.append(at_once(server.grpc_url, streams, portrait, speech, args.patience, args.device))
                bar.advance(task)
                result = {"what": what, "device": args.device, "preset": preset, "at_once": rows}
                args.output.write_text(json.dumps(result, indent=1) + "\n")
    except (LaunchError, SadTalkerError) as error:
        console.print(f"error: {error} (log: {log})", highlight=False, soft_wrap=True)
        return 1
    log.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

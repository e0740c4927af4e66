"""Requests whose refusal takes the server long, and how long: `python benchmarks/slow_refusals.py [--repository DIR]`.

Prints seconds by the clock and of processor time; the latter depends less on what else the machine does. Writes
benchmarks/results/slow_refusals.json.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import hostile
import numpy as np
import psutil
from attacked_server import export_tiny, seconds_to_serve, valid_request
from hardware import describe
from raw_requests import refusal, text
from sadtalker_server import Server

RESULTS = Path(__file__).parent / "results" / "slow_refusals.json"
REPEATS = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, help="with exported networks; by default tiny ones are made")
    parser.add_argument("--output", type=Path, default=RESULTS, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = args.repository or export_tiny(Path(folder))
        with Server(repository, tritonserver="embedded", log_file=Path(folder) / "log") as server:
            origin = describe()
            seconds_to_serve(server)
            found = {}
            for name, (inputs, _) in slow_requests().items():
                refusals = [refused(server, inputs) for _ in range(REPEATS)]
                clocks, processors = ([round(each[i], 2) for each in refusals] for i in (0, 1))
                message = refusals[0][2]
                print(f"{name}: {clocks} s, {processors} s of processor time: {message}")  # noqa: T201
                found[name] = {"seconds": clocks, "processor_seconds": processors, "message": message}
    what = f"seconds until a refusal, each request {REPEATS} times; the first one makes memory that the others find"
    results = {"what": what, **origin, "refusals": found}
    args.output.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def slow_requests() -> dict[str, tuple[dict[str, np.ndarray], str]]:
    """Return the requests by name, and how their refusals begin."""
    base = valid_request()
    return {
        "a picture of 64 megapixels, 16 bits": (
            base | {"image": text(hostile.large_picture())},
            "INVALID_ARGUMENT: image: expected a frontal face",
        ),
        "a video without a face": (
            {"image": base["image"], "driving": text(hostile.faceless_video())},
            "INVALID_ARGUMENT: driving: expected a frontal face",
        ),
        "240 MB of key frames": (
            base | {"yaw": np.zeros((1, 30_000_000, 2), np.float32)},
            "INVALID_ARGUMENT: yaw: expected at most 10000 entries",
        ),
        "a header that unpacks to 512 MB": (
            {"image": base["image"], "driving": text(hostile.compressed_header(512))},
            "INVALID_ARGUMENT: driving: expected a header of at most 16 MB",
        ),
    }


def refused(server: Server, inputs: dict[str, np.ndarray]) -> tuple[float, float, str]:
    """Make a request and return the seconds until its refusal, those of processor time, and the message."""
    before, start = processor_seconds(server), time.monotonic()
    message = refusal(server.grpc_url, "sadtalker", inputs)
    clock = time.monotonic() - start
    return clock, sum(spent - before.get(pid, 0.0) for pid, spent in processor_seconds(server).items()), message


def processor_seconds(server: Server) -> dict[int, float]:
    """Return the processor time of each process of the server."""
    root = psutil.Process(server.pid)
    found = {}
    for process in (root, *root.children(recursive=True)):
        try:
            found[process.pid] = sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())

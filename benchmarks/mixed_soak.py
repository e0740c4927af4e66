"""Memory of the server under mixed load: `python benchmarks/mixed_soak.py [--minutes 60]`.

Sends random requests from a seed, one after the other per worker: valid ones, hostile files, options of every kind,
cancels, time-outs, and live sessions, some dropped or interrupted. Samples the private memory of every process and the
server's regions in /dev/shm. Writes benchmarks/results/mixed_soak.json and .png; exits with 1 after a finding: a
request that hangs, a valid one that is not served, an internal error, or more memory in the last quarter than in the
second plus the limit.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import matplotlib
import numpy as np
from attacked_server import MemoryWatch, export_tiny, seconds_to_serve, watched
from hardware import describe
from hostile_requests import Outcome, Requests, try_request
from live_requests import LiveSessions
from sadtalker_server import Server

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SAMPLE_SECONDS = 5.0
LIVE_SHARE = 0.2
LIMIT_MB = 150.0  # of growth per process, from the second quarter's median to the last's


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long (60)")
    parser.add_argument("--workers", type=int, default=2, help="requests at a time (2)")
    parser.add_argument("--seed", type=int, default=0, help="of all requests (0)")
    parser.add_argument("--repository", type=Path, help="with exported networks; by default tiny ones are made")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = args.repository or export_tiny(Path(folder))
        with Server(repository, tritonserver="embedded", log_file=Path(folder) / "log") as server:
            seconds_to_serve(server)
            with watched(server, SAMPLE_SECONDS) as watch:
                outcomes = soak(server, args.minutes, args.workers, args.seed)
            seconds_to_serve(server)
    return report(watch, outcomes, args.minutes, args.workers, args.seed)


def soak(server: Server, minutes: float, workers: int, seed: int) -> list[Outcome]:
    """Keep the server busy with random requests."""
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + 60 * minutes

    def work(requests: Requests, sessions: LiveSessions, random: np.random.Generator) -> None:
        while time.monotonic() < deadline:
            if random.random() < LIVE_SHARE:
                outcomes.append(sessions.hold(server.grpc_url))
            else:
                outcomes.append(try_request(server.grpc_url, requests.next()))

    seeds = range(seed, seed + workers)
    makers = [(Requests(own), LiveSessions(own), np.random.default_rng(own)) for own in seeds]
    threads = [threading.Thread(target=work, args=each) for each in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def growth(series: list[float]) -> float:
    """Return by how much the median of the last quarter exceeds that of the second, MB."""
    quarter = max(len(series) // 4, 1)
    return float(np.median(series[-quarter:]) - np.median(series[quarter : 2 * quarter] or series))


def report(watch: MemoryWatch, outcomes: list[Outcome], minutes: float, workers: int, seed: int) -> int:
    """Write the results; return the exit code."""
    findings = sorted({(outcome.kind, outcome.ended, outcome.message) for outcome in outcomes if outcome.is_finding})
    grown = {name: round(growth(series), 1) for name, series in watch.megabytes.items()}
    result = {
        "what": f"{minutes:g} minutes of random requests, {workers} at a time, seed {seed}, tiny networks",
        **describe(),
        "requests": len(outcomes),
        "outcomes": {
            kind: dict(Counter(o.ended for o in outcomes if o.kind == kind))
            for kind in sorted({o.kind for o in outcomes})
        },
        "findings": [dict(zip(("kind", "ended", "message"), finding, strict=True)) for finding in findings],
        "growth_mb": grown,
        "limit_mb": LIMIT_MB,
        "samples": {"seconds": watch.seconds, "megabytes": watch.megabytes},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mixed_soak.json").write_text(json.dumps(result) + "\n")
    figure, axes = plt.subplots(figsize=(8, 5))
    for name in sorted(watch.megabytes, key=watch.peak, reverse=True):
        axes.plot(np.array(watch.seconds) / 60, watch.megabytes[name], label=name, linewidth=1)
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None))
    axes.set_title(f"Private memory during {minutes:g} minutes of {len(outcomes)} random requests (tiny networks)")
    axes.legend(fontsize=7, ncols=2)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(RESULTS / "mixed_soak.png", dpi=120)
    print(f"{len(outcomes)} requests, {len(findings)} findings; growth in MB: {grown}")  # noqa: T201
    return int(bool(findings) or max(grown.values()) > LIMIT_MB)


if __name__ == "__main__":
    sys.exit(main())

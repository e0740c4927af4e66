"""GPUs and cost for a number of live videos: `python benchmarks/capacity.py --measured perf_....json`.

A node is what `benchmarks/perf.py` measured of it (any hardware: perf.py has --url), or, with --frames-per-second, an
assumption, and then every figure below is one. Measured nodes are simulated with 1, 2 and 4 clients first, from the
times of their stages, and compared with what the same clients really got.

Assumptions: videos arrive at random (Poisson) and keep a place for as long as they last, which is geometric; every GPU
is alike and takes as many videos as it renders at 25 frames a second; a video that finds no place waits in the order of
arrival; a GPU is paid from its order to the end of its last video; prices are given, not known; nothing fails. Writes
benchmarks/results/capacity_<name>.json and .png.
"""

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from capacity_simulation import Autoscaler, Batches, Floats, Trace, Video, closed_loop, cluster
from rich.console import Console
from rich.progress import track
from rich.table import Table

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
FRAMES_PER_SECOND, FRAMES_PER_CHUNK, MOST_CHUNKS, CHUNKS_IN_FLIGHT = 25, 5, 4, 3
CHUNK_MODELS = ("face_renderer", "render_frames")  # one request of them is one chunk
PREPARATION = ("portrait_crop", "face_reconstruction", "appearance_encoder", "audio2exp", "audio2pose")
SIZES = (10, 100, 1_000, 10_000)
UTILISATIONS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
HOUR = 3600
BURST = 1.6  # times the busy hours, for ten minutes: more than the places that an autoscaler keeps free
COLOURS = ("#1b4f79", "#2a78b5", "#e08214", "#b2182b")

console = Console(stderr=True)


@dataclass(frozen=True)
class Node:
    """One GPU (or CPU) with a server on it; `preparation` is the seconds of work before a video's first chunk."""

    batches: Batches
    preparation: float

    @property
    def frames_per_second(self) -> float:
        """Frames per second of all its videos together, when it is busy."""
        most = self.batches.most
        return most * FRAMES_PER_CHUNK / self.batches.seconds(most)

    @property
    def live(self) -> float:
        """Videos that it renders as fast as they are watched."""
        return self.frames_per_second / FRAMES_PER_SECOND

    @property
    def places(self) -> int:
        return max(1, int(self.live))

    @property
    def stretch(self) -> float:
        """How much longer than itself a video takes: 1 unless a node cannot keep up with a single one."""
        return max(1.0, 1 / self.live)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--measured", type=Path, help="a result of perf.py")
    source.add_argument("--frames-per-second", type=float, help="of a busy GPU: an assumption")
    parser.add_argument("--name", required=True, help="of the result, such as a100")
    parser.add_argument("--price", type=float, default=2.0, help="of a GPU hour, in any currency (default 2)")
    parser.add_argument("--video-seconds", type=float, default=30.0, help="mean length (default 30)")
    parser.add_argument("--lag", type=int, default=180, help="seconds until a new GPU serves (default 180)")
    parser.add_argument("--target", type=float, default=0.8, help="of its places that shall be taken (default 0.8)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    measured = json.loads(args.measured.read_text()) if args.measured else None
    node = measured_node(measured) if measured else assumed_node(args.frames_per_second)
    scaler = Autoscaler(target=args.target, lag=args.lag)
    mean = args.video_seconds * node.stretch
    result: dict[str, Any] = {
        "what": __doc__.split("\n\n")[2].replace("\n", " "),
        "source": args.measured.name if measured else f"assumed: {args.frames_per_second:g} frames/s of a busy GPU",
        "arguments": {k: v for k, v in vars(args).items() if k != "measured"},
        "node": {**asdict(node), "frames_per_second": node.frames_per_second, "live_videos": node.live},
        "validation": validation(node, measured) if measured else [],
        "gpus_for_live_videos": {n: math.ceil(n / (node.live * args.target)) for n in SIZES},
        "pools": [],
        "autoscaled": [],
    }
    traces: dict[int, Trace] = {}
    for size in track(SIZES, "clusters", console=console):
        random = np.random.default_rng([args.seed, size])
        result["pools"] += pools(size, node.places, mean, random)
        traces[size] = cluster(
            day(size * node.places * args.target / mean), mean, node.places, scaler, size // 2, random
        )
        result["autoscaled"].append(summary(size, traces[size], node, args.price))
    path = RESULTS / f"capacity_{args.name}.json"
    path.write_text(json.dumps(rounded(result), indent=1) + "\n")
    plot(result, traces[1_000], path.with_suffix(".png"))
    report(result)
    console.print(f"{path}")
    return 0


def assumed_node(frames_per_second: float) -> Node:
    return Node(Batches(0.0, FRAMES_PER_CHUNK / frames_per_second, MOST_CHUNKS), 0.0)


def measured_node(result: dict[str, Any]) -> Node:
    """Fit a straight line to the seconds of an execution over its chunks, from the renderer alone at all its loads."""
    points = [
        (use["mean_batch"], use["mean_batch"] / level["per_second"])
        for level in result["levels"]
        if level["model"] in CHUNK_MODELS and level.get("per_second") and level.get("concurrency")
        for use in [level["models"]["face_renderer"]]
    ]
    if not points:
        raise SystemExit(f"the result has no runs of {' or '.join(CHUNK_MODELS)}: run perf.py with all its scenarios")
    sizes, seconds = np.array(points).T
    each, fixed = np.polyfit(sizes, seconds, 1) if np.ptp(sizes) > 0.5 else (np.mean(seconds / sizes), 0.0)
    if fixed < 0 or each < 0:  # noise: batches bring nothing that could be told from it
        each, fixed = float(np.mean(seconds / sizes)), 0.0
    return Node(Batches(float(fixed), float(each), MOST_CHUNKS), preparation(result))


def preparation(result: dict[str, Any]) -> float:
    """Return seconds of computation for one video before its first chunk, from the runs with a single client."""
    for level in result["levels"]:
        if level["model"] == "sadtalker" and level.get("concurrency") == 1:
            uses = [level["models"][name] for name in PREPARATION if name in level["models"]]
            return sum(use["requests"] * use["compute_ms"] for use in uses) / 1000 / level["requests"]
    return 0.0


def validation(node: Node, result: dict[str, Any]) -> list[dict[str, float]]:
    """Compare frames per second of whole videos by clients at once: measured, and simulated from the stages."""
    rows = []
    for level in result["levels"]:
        if level["model"] == "sadtalker" and level["kind"] == "sweep" and level.get("frames_per_second"):
            frames = round(level["frames_per_second"] / level["per_second"])
            video = Video(node.preparation, math.ceil(frames / FRAMES_PER_CHUNK), CHUNKS_IN_FLIGHT)
            chunks, _ = closed_loop(level["concurrency"], video, node.batches)
            simulated = chunks * frames / video.chunks
            rows.append(
                {
                    "clients": level["concurrency"],
                    "measured": level["frames_per_second"],
                    "simulated": simulated,
                    "simulated_over_measured": simulated / level["frames_per_second"],
                }
            )
    return rows


def pools(size: int, places: int, mean: float, random: np.random.Generator) -> list[dict[str, float]]:
    """Draw the waits in a cluster that keeps its size, by the share of its places that the load takes."""
    rows = []
    for utilisation in UTILISATIONS:
        rate = np.full(int(max(HOUR, 100 * mean) + 10 * mean), utilisation * size * places / mean)
        trace = cluster(rate, mean, places, None, size, random)
        waits = trace.waits()[int(trace.began[: int(10 * mean)].sum()) :]
        p50, p99 = np.percentile(waits, (50, 99))
        rows.append({"gpus": size, "utilisation": utilisation, "wait_p50": p50, "wait_p99": p99})
    return rows


def day(busiest: float) -> Floats:
    """Return videos a second, over four hours: half as many as in the busiest hours, a rise, a burst, a fall."""
    hours = (0, 1, 1.5, 2.5, 2.52, 2.68, 2.7, 3.2, 4)
    return busiest * np.interp(np.arange(4 * HOUR) / HOUR, hours, (0.5, 0.5, 1, 1, BURST, BURST, 1, 0.5, 0.5))


def summary(size: int, trace: Trace, node: Node, price: float) -> dict[str, float]:
    waits = trace.waits()
    video_hours = trace.live.sum() / node.stretch / HOUR
    p50, p99 = np.percentile(waits, (50, 99))
    return {
        "gpus_in_busy_hours": size,
        "videos": int(trace.arrived.sum()),
        "wait_p50": p50,
        "wait_p99": p99,
        "wait_max": int(waits.max()),
        "share_that_waits": float((waits > 1).mean()),
        "most_gpus": int(trace.paid.max()),
        "places_taken": float(trace.live.sum() / (trace.paid.sum() * node.places)),
        "cost_per_hour_of_video": trace.paid.sum() / HOUR * price / video_hours,
        "cost_if_sized_for_the_burst": BURST * size * len(trace.paid) / HOUR * price / video_hours,
    }


def report(result: dict[str, Any]) -> None:
    table = Table(title=f"{result['source']}: {result['node']['live_videos']:.2f} live videos per GPU")
    columns = {"gpus_in_busy_hours": "GPUs", "share_that_waits": "wait > 1 s", "wait_p99": "p99 wait, s"}
    columns |= {"places_taken": "places taken", "cost_per_hour_of_video": "per hour of video"}
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in result["autoscaled"]:
        table.add_row(*(f"{row[key]:,.3g}" if isinstance(row[key], float) else f"{row[key]:,}" for key in columns))
    console.print(table)
    for row in result["validation"]:
        console.print(
            f"{row['clients']} clients: {row['simulated']:.2f} frames/s simulated, {row['measured']:.2f} measured "
            f"({row['simulated_over_measured']:.2f})"
        )


def plot(result: dict[str, Any], trace: Trace, path: Path) -> None:
    figure, ((waits, timeline), (costs, clients)) = plt.subplots(2, 2, figsize=(12, 8.4))
    for size, colour in zip(SIZES, COLOURS, strict=True):
        rows = [row for row in result["pools"] if row["gpus"] == size]
        x, y = zip(*((100 * row["utilisation"], max(row["wait_p99"], 0.5)) for row in rows), strict=True)
        waits.semilogy(x, y, "o-", color=colour, label=f"{size:,} GPUs")
    waits.set(title="Clusters that keep their size", xlabel="% of places that the load takes")
    waits.set_ylabel("99th percentile of the wait, s (0.5: none)")
    waits.legend()

    hours = np.arange(len(trace.live)) / HOUR
    places = max(1, int(result["node"]["live_videos"]))
    timeline.fill_between(hours, trace.live, color="#9ecae1", label="videos live")
    timeline.plot(hours, trace.serving * places, color=COLOURS[0], label="places on GPUs that serve")
    timeline.plot(hours, trace.waiting, color=COLOURS[3], label="videos that wait")
    lag = result["arguments"]["lag"]
    timeline.set(title=f"1,000 GPUs, autoscaled with a lag of {lag} s", xlabel="hours", ylabel="videos", ylim=0)
    timeline.legend(loc="upper left", fontsize=8)

    labels = [f"{row['gpus_in_busy_hours']:,}" for row in result["autoscaled"]]
    index = np.arange(len(labels))
    for offset, key, name, colour in (
        (-0.2, "cost_per_hour_of_video", "autoscaled", COLOURS[1]),
        (0.2, "cost_if_sized_for_the_burst", "always sized for the burst", "#bbbbbb"),
    ):
        bars = costs.bar(index + offset, [row[key] for row in result["autoscaled"]], 0.38, label=name, color=colour)
        costs.bar_label(bars, fmt="%.2f", fontsize=8)
    price = result["arguments"]["price"]
    costs.set(title=f"Cost at {price:g} per GPU hour", xlabel="GPUs in busy hours", ylabel="per hour of video")
    costs.set_xticks(index, labels)
    costs.margins(y=0.25)
    costs.legend(loc="upper right", fontsize=8)

    if result["validation"]:
        for key, mark, colour in (("measured", "o-", COLOURS[0]), ("simulated", "s--", COLOURS[2])):
            rows = result["validation"]
            clients.plot([row["clients"] for row in rows], [row[key] for row in rows], mark, color=colour, label=key)
        clients.set(title="The node: simulated from its stages, and measured", xlabel="clients at once", ylim=0)
        clients.set_xticks([row["clients"] for row in result["validation"]])
        clients.set_ylabel("frames/s")
    else:
        targets = result["gpus_for_live_videos"]
        clients.loglog(list(targets), list(targets.values()), "o-", color=COLOURS[0], label="GPUs")
        for live, gpus in targets.items():
            clients.annotate(f"{gpus:,}", (live, gpus), textcoords="offset points", xytext=(6, -12))
        clients.margins(0.12)
        clients.set(title="GPUs for live videos", xlabel="live videos", ylabel="GPUs")
    clients.legend(fontsize=8)
    figure.suptitle(
        f"Simulated. {result['source']}, {result['node']['live_videos']:.2f} live videos per GPU", fontsize=10
    )
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())

"""The real-time factor of the demo: `python benchmarks/demo.py`.

One server for every variant, all over one repository with the demo's networks. In turn each animates the example
portrait with the example speech, as `make demo` does, first a face that it has never seen, then one that it knows. The
real-time factor is the time from the request to the last byte by the length of the video; below 1 it plays live. Beside
it, for machines that are not idle, the processor time that the server took per second of video, by model: divided by
the number of cores it is the least that the real-time factor can be. Writes benchmarks/results/demo_<processor>.json.
"""

import argparse
import json
import os
import re
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
from bench import portrait
from hardware import describe, slug
from rich.console import Console
from rich.table import Table
from sadtalker_client import SadTalkerClient
from sadtalker_runtime.manifest import read_manifest
from sadtalker_server import Server
from soak import long_speech

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
SECONDS = 6.48  # of the example speech
OTHERS = "triton and others"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with networks in bf16, too")
    parser.add_argument("--baseline", type=Path, help="another repository, of an earlier version, to compare with")
    parser.add_argument("--variants", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the speech (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / f"demo_{slug()}.json")
    args = parser.parse_args()
    sides = {variant: (args.repository, variant) for variant in args.variants}
    if args.baseline:
        sides |= {f"{variant} before": (args.baseline, variant) for variant in args.variants}
    head, speech = describe(), long_speech(args.seconds)
    runs: dict[str, list[dict[str, object]]] = {name: [] for name in sides}
    new_faces: dict[str, list[float]] = {name: [] for name in sides}
    with ExitStack() as stack:
        servers = {}
        for name, (repository, variant) in sides.items():
            config = None if variant == "fp32" else variant
            servers[name] = stack.enter_context(Server(repository, model_config_name=config))
            video(servers[name], portrait(0), speech)  # first executions make kernels
        for round_ in range(args.rounds):
            for name, server in servers.items():
                new_faces[name].append(round(video(server, portrait(1 + round_), long_speech(0.4))[0], 3))
                runs[name].append(known_face(server, portrait(1 + round_), speech))
        load = os.getloadavg()[0]
    result = {
        "what": f"{args.seconds:g} s of speech, {args.rounds} rounds, all servers in turn",
        **head,
        "load_after": round(load, 2),
        "preset": read_manifest(args.repository).preset,
        "variants": {name: summary(runs[name], new_faces[name], args.seconds) for name in sides},
        "ratios": ratios(runs),
    }
    args.output.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return 0


def known_face(server: Server, image: bytes, speech: bytes) -> dict[str, object]:
    """Animate a portrait that the server knows; return seconds by the clock and by the processors."""
    before = processor_seconds(server)
    first, total = video(server, image, speech)
    after = processor_seconds(server)
    return {
        "first_fragment": round(first, 3),
        "total": round(total, 3),
        "processor": {name: round(after[name] - before.get(name, 0.0), 3) for name in after},
    }


def video(server: Server, image: bytes, speech: bytes) -> tuple[float, float]:
    """Return the seconds until the first fragment of a video, and until its end."""
    start = time.perf_counter()
    with SadTalkerClient(server.grpc_url) as client, client.animate(image, speech) as fragments:
        next(fragments)
        first = time.perf_counter() - start
        for _ in fragments:
            pass
    return first, time.perf_counter() - start


def processor_seconds(server: Server) -> dict[str, float]:
    """Return the processor time that the server has taken, by model."""
    found: dict[str, float] = {}
    root = psutil.Process(server.pid)
    for process in (root, *root.children(recursive=True)):
        times = process.cpu_times()
        model = stub_model(process.cmdline()) or OTHERS
        found[model] = found.get(model, 0.0) + times.user + times.system
    return found


def stub_model(command: list[str]) -> str | None:
    """Return the model of a process of Triton's Python backend, which names the instance; None for another process."""
    instances = (re.fullmatch(r"(\w+)_\d+_\d+", word) for word in command)
    return next((instance.group(1) for instance in instances if instance), None)


def summary(runs: list[dict[str, object]], new_faces: list[float], seconds: float) -> dict[str, object]:
    """Return the medians of one variant's runs, and the runs."""
    models = sorted({name for run in runs for name in run["processor"]})
    processor = {
        name: round(statistics.median(run["processor"].get(name, 0.0) for run in runs) / seconds, 4) for name in models
    }
    return {
        "real_time_factor": round(statistics.median(run["total"] for run in runs) / seconds, 3),
        "first_fragment_seconds": statistics.median(run["first_fragment"] for run in runs),
        "first_fragment_seconds_new_face": statistics.median(new_faces),
        "processor_seconds_per_second": round(sum(processor.values()), 3),
        "by_model": dict(sorted(processor.items(), key=lambda item: -item[1])[:8]),
        "runs": runs,
    }


def ratios(runs: dict[str, list[dict[str, object]]]) -> dict[str, float]:
    """Return how many times as long every side took as the last one, pair by pair: by the clock, by the processors."""
    last = list(runs)[-1]
    found = {}
    for name in runs:
        if name != last:
            pairs = list(zip(runs[name], runs[last], strict=True))
            found[f"{name} / {last}, clock"] = round(statistics.median(a["total"] / b["total"] for a, b in pairs), 3)
            found[f"{name} / {last}, processors"] = round(
                statistics.median(sum(a["processor"].values()) / sum(b["processor"].values()) for a, b in pairs), 3
            )
    return found


def show(result: dict[str, object]) -> None:
    table = Table("", "real-time factor", "first fragment, s", "new face, s", "processor s/s", "of that")
    for name, one in result["variants"].items():
        models = ", ".join(f"{model} {seconds:.2f}" for model, seconds in list(one["by_model"].items())[:4])
        numbers = ("real_time_factor", "first_fragment_seconds", "first_fragment_seconds_new_face")
        row = [f"{one[key]:.2f}" for key in (*numbers, "processor_seconds_per_second")]
        table.add_row(name, *row, models)
    console = Console()
    console.print(table)
    console.print(result["ratios"])


if __name__ == "__main__":
    sys.exit(main())

"""Load tests with perf_analyzer, as `perf_analyzer/scenarios.py` lists them: `python benchmarks/perf.py`.

Starts a server with the networks of a preset, or uses the one at --url. CSV reports, profile exports and logs go to
out/perf/, what they say, when all scenarios were run, to benchmarks/results/perf_<preset>_<hardware>.json and .png.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from hardware import describe
from perf_analyzer.inputs import cut_speech
from perf_analyzer.load import Bench, Level
from perf_analyzer.plots import plot
from perf_analyzer.scenarios import KINDS, SCENARIOS
from perf_analyzer.session import measure
from perf_analyzer.tool import ToolError, obtain
from rich.console import Console
from sadtalker_runtime.manifest import MANIFEST, read_manifest
from sadtalker_server import LaunchError, Server
from tritonclient.utils import InferenceServerException

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
EXAMPLES = ROOT / "examples"
FRAMES_PER_SECOND = 25

console = Console(stderr=True, highlight=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", choices=[*KINDS, "all"], default="all", help="each includes those before it")
    parser.add_argument("--models", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), help="all by default")
    parser.add_argument("--preset", default="demo", help="whose networks the server has: tiny, demo or official")
    parser.add_argument("--model-config-name", help="variant of the models' configurations, such as bf16")
    parser.add_argument("--url", help="host:port of a running server's gRPC, its key in SADTALKER_ADMIN_KEY")
    parser.add_argument("--hardware", help="what the server runs on; by default this machine's processor")
    parser.add_argument("--seconds", type=float, default=0.6, help="of speech for each video")
    parser.add_argument("--max-minutes", type=float, default=10, help="no run goes on after this")
    args = parser.parse_args()
    if args.url and not args.hardware:
        parser.error("--url needs --hardware: what the server there runs on")
    kinds = KINDS if args.scenario == "all" else KINDS[: KINDS.index(args.scenario) + 1]
    deadline = time.monotonic() + 60 * args.max_minutes
    machine = describe()
    hardware = args.hardware or "{cpu}, {cores} cores".format_map(machine["hardware"])
    result = {"what": f"{', '.join(kinds)}; videos of {args.seconds:g} s", "hardware_name": hardware, **machine}
    preset = args.preset + (f"_{args.model_config_name}" if args.model_config_name else "")
    folder = ROOT / "out" / "perf" / time.strftime(f"%Y%m%d-%H%M%S-{preset}")
    folder.mkdir(parents=True)
    files = {
        "image": (EXAMPLES / "portrait.jpg").read_bytes(),
        "audio": cut_speech(EXAMPLES / "speech.wav", args.seconds),
    }
    try:
        tool = obtain(ROOT / "build" / "perf_analyzer")
        with ExitStack() as stack:
            given = os.environ.get("SADTALKER_ADMIN_KEY")
            url, key = args.url, {"triton-grpc-protocol-admin-key": given} if given else {}
            if url is None:
                console.print("starting the server")
                repository = networks_of(args.preset)
                server = stack.enter_context(Server(repository, model_config_name=args.model_config_name))
                url, key = server.grpc_url, server.admin_headers
            bench = Bench(tool, url, folder, files, deadline, key)
            result |= {"preset": preset, "perf_analyzer": tool.version, "tritonserver": bench.server_version()}
            frames = round(args.seconds * FRAMES_PER_SECOND)
            scenarios = [SCENARIOS[name] for name in args.models]
            result |= measure(bench, scenarios, kinds, frames, lambda level: console.print(line(level), soft_wrap=True))
    except (ToolError, LaunchError, InferenceServerException, subprocess.CalledProcessError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    whole = args.scenario == "all" and len(args.models) == len(SCENARIOS) and result["complete"]
    name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(.*?\)", "", hardware).lower()).strip("-")
    path = RESULTS / f"perf_{preset}_{name}.json" if whole else folder / "result.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    if not result["complete"]:
        console.print("out of time: the rest is left out")
    plot(result, path.with_suffix(".png"))
    console.print(f"{path.relative_to(ROOT)} and .png; reports and logs in {folder.relative_to(ROOT)}", soft_wrap=True)
    return 0


def networks_of(preset: str) -> Path:
    """Return a repository with a preset's networks: the usual one, or bench.py's, exported where it is missing."""
    repository = ROOT / "model_repository"
    if (repository / MANIFEST).is_file() and read_manifest(repository).preset == preset:
        return repository
    made = ROOT / "build" / "bench" / preset / "model_repository"
    unexported = shutil.ignore_patterns("model.onnx", MANIFEST)
    shutil.copytree(repository, made, ignore=unexported, dirs_exist_ok=True)
    if not (made / MANIFEST).is_file():
        export = Path(sys.executable).with_name("sadtalker-export")
        subprocess.run([export, "onnx", "--weights", preset, "--repository", made], check=True)
    return made


def line(level: Level) -> str:
    """Describe one run in one line."""
    load = f"{level.concurrency} at once" if level.concurrency else f"{level.rate:.3g}/s at random"
    throughput = f"{level.per_second:8.2f}/s" if level.per_second else " " * 10
    percentiles = ", ".join(f"{name} {level.latency_ms[name]:.4g} ms" for name in ("p50", "p90"))
    return f"{level.model:20} {level.kind:8} {load:16} {throughput}  {percentiles}, n = {level.requests}"


if __name__ == "__main__":
    sys.exit(main())

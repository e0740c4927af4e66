"""`make gpu-proof`: what this project does on an NVIDIA GPU, step by step, on a machine without internet.

Needs PyTorch with CUDA. Packages that are missing come as wheels from a folder, whole or in pieces (`wheels.py`). Each
step is a command of its own with 9 minutes at most and a result of its own, benchmarks/results/<step>_<gpu>.json. A
step whose result was made from the same sources, GPU and options is not run again, so that a run that was cut off goes
on where it ended; proof_<gpu>.json has how each step went. `--device cpu --preset tiny` tries everything without a GPU,
and leaves the results below build/gpu-proof.

    bench      the networks in PyTorch against the original (bench_gpu.py)
    export     the networks in fp16, into build/gpu-proof/<preset>; no result
    placement  the exported graphs in ONNX Runtime on the GPU, no node falling back to the processor
    served     1 to 16 live streams from the real server
    compiled   a bound: torch.compile and CUDA graphs
    narrow     a bound: int8 and fp8
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import wheels
from bench_gpu import slug, usable
from hardware import describe, describe_gpu
from rich.console import Console
from rich.progress import Progress
from sadtalker_export.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
RESULTS = HERE / "results"
BUILD = ROOT / "build" / "gpu-proof"
LIMIT_SECONDS = 540
CHECKOUT = (HERE, *(ROOT / name for name in ("client", "server", "export")))
"""Folders of the checkout that steps import from."""
SOURCES = ("benchmarks", "client", "export", "server")
console = Console(stderr=True)


@dataclass(frozen=True)
class Settings:
    """Settings that all steps share."""

    device: str
    preset: str
    quick: bool
    """Whether every measurement is as short as it can be."""
    repository: Path
    slug: str
    """Names preset and GPU in the names of results."""
    python: Path
    """The interpreter that runs the steps."""


@dataclass(frozen=True)
class Step:
    """A command that leaves one result."""

    name: str
    command: Callable[[Settings, Path], list[str]]
    """Makes the command from the settings and the path of the result that it writes."""
    has_result: bool = True


def _script(s: Settings, name: str, *arguments: str) -> list[str]:
    return [str(s.python), str(HERE / name), *arguments]


def _bench(s: Settings, output: Path) -> list[str]:
    quick = ["--batches", "5", "--seconds", "0", "--rounds", "1"] if s.quick else []
    options = ["--device", s.device, "--preset", s.preset, "--output", str(output.parent)]
    return _script(s, "bench_gpu.py", *options, *quick)


def _export(s: Settings, output: Path) -> list[str]:
    precision = "fp16" if s.device == "cuda" else "fp32"
    options = ["--preset", s.preset, "--precision", precision, "--repository", str(s.repository)]
    return _script(s, "gpu_proof.py", "--export-only", *options)


def _placement(s: Settings, output: Path) -> list[str]:
    quick = ["--largest-batch", "1", "--seconds", "0"] if s.quick else []
    options = ["--repository", str(s.repository), "--device", s.device, "--output", str(output)]
    return _script(s, "gpu_placement.py", *options, *quick)


def _served(s: Settings, output: Path) -> list[str]:
    quick = ["--streams", "1", "2", "--seconds", "0.4"] if s.quick else []
    options = ["--repository", str(s.repository), "--device", s.device, "--output", str(output)]
    return _script(s, "gpu_served.py", *options, *quick)


def _bounds(name: str) -> Callable[[Settings, Path], list[str]]:
    def command(s: Settings, output: Path) -> list[str]:
        quick = ["--seconds", "0", "--rounds", "1"] if s.quick else []
        options = ["--device", s.device, "--preset", s.preset, "--output", str(output)]
        return _script(s, "gpu_bounds.py", name, *options, *quick)

    return command


STEPS = {
    step.name: step
    for step in (
        Step("bench", _bench),
        Step("export", _export, has_result=False),
        Step("placement", _placement),
        Step("served", _served),
        Step("compiled", _bounds("compiled")),
        Step("narrow", _bounds("narrow")),
    )
}


def sources_digest(root: Path = ROOT) -> str:
    """Return a digest of the Python sources and model configurations, which also a checkout without git has."""
    digest = hashlib.sha256()
    files = [path for folder in SOURCES for path in (root / folder).rglob("*.py")]
    files += (root / "model_repository").rglob("*.pbtxt")
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def is_done(path: Path, proof: Mapping[str, object]) -> bool:
    """Return whether a result is there that was completed under the same circumstances."""
    try:
        found = json.loads(path.read_text()).get("proof", {})
    except (OSError, ValueError, AttributeError):
        return False
    return all(found.get(key) == value for key, value in proof.items())


def run_step(
    step: Step, settings: Settings, output: Path, proof: Mapping[str, object], environment: Mapping[str, str]
) -> str:
    """Run one step and complete its result; return how it went: done, skipped, or what went wrong."""
    path = output / f"{step.name}_{settings.slug}.json"
    if step.has_result and is_done(path, proof):
        return "skipped: its result is there"
    fresh = output / f".{step.name}"  # a result counts when its step has succeeded
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    start = time.monotonic()
    try:
        code = subprocess.run(
            step.command(settings, fresh / path.name), cwd=ROOT, env=dict(environment), timeout=LIMIT_SECONDS
        ).returncode
    except subprocess.TimeoutExpired:
        code = None
    seconds = round(time.monotonic() - start, 1)
    failure = None if code == 0 else (f"stopped after {LIMIT_SECONDS} s" if code is None else f"failed with {code}")
    for made in fresh.iterdir():
        if made.suffix == ".json":
            result = json.loads(made.read_text())
            state = {"failure": failure} if failure else dict(proof)
            made.write_text(
                json.dumps({**describe(), **result, "proof": {**state, "seconds": seconds}}, indent=1) + "\n"
            )
        shutil.move(made, output / made.name)
    fresh.rmdir()
    return failure or f"done in {seconds:g} s"


def step_environment() -> dict[str, str]:
    """Return this process's environment with the checkout's own packages first in Python's path."""
    known = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, CHECKOUT), *known]), "PYTHONUNBUFFERED": "1"}


def export(preset: str, precision: str, repository: Path) -> None:
    """Export a preset's networks with made-up weights into a model repository that is made of this checkout's texts."""
    from sadtalker_export.checkpoint import loading
    from sadtalker_export.onnx.repository import export_repository
    from sadtalker_export.presets import PRESETS

    ignored = shutil.ignore_patterns("*.onnx", "*.plan", "exported.json")
    shutil.copytree(ROOT / "model_repository", repository, dirs_exist_ok=True, ignore=ignored)
    with Progress(console=console) as bar:
        export_repository(loading.synthetic_networks(PRESETS[preset]), preset, repository, bar, precision)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: tries the command, in fp32")
    parser.add_argument(
        "--preset", choices=("official", "tiny"), default="official", help="sizes, with made-up weights"
    )
    parser.add_argument("--wheels", type=Path, help="folder of wheels that this machine lacks, with their SHA256SUMS")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--quick", action="store_true", help="the shortest measurements, to try the command")
    parser.add_argument("--output", type=Path, help="directory of the results (default: of a GPU benchmarks/results)")
    parser.add_argument("--repository", type=Path, help="model repository (default: below build/gpu-proof)")
    parser.add_argument("--export-only", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    repository = args.repository or BUILD / args.preset / "model_repository"
    if args.export_only:
        export(args.preset, args.precision, repository)
        return 0
    try:
        device = usable(args.device)
        python = wheels.install(args.wheels, BUILD, CHECKOUT) if args.wheels else Path(sys.executable)
    except UsageError as error:
        console.print(f"error: {error}", highlight=False, soft_wrap=True)
        return 2
    gpu = describe_gpu() if device.type == "cuda" else None
    settings = Settings(args.device, args.preset, args.quick, repository, slug(args.preset, gpu), python)
    proof = {"sources": sources_digest(), "gpu": gpu and gpu["name"], "quick": args.quick}
    environment = step_environment()
    output = args.output or (RESULTS if gpu else BUILD / "results")
    output.mkdir(parents=True, exist_ok=True)
    summary, outcomes = {"what": "how every step went", **describe(), "proof": proof}, {}
    for number, name in enumerate(args.steps, 1):
        console.print(f"step {number} of {len(args.steps)}: {name}", highlight=False)
        outcomes[name] = run_step(STEPS[name], settings, output, proof, environment)
        console.print(f"  {name}: {outcomes[name]}", highlight=False, soft_wrap=True)
    (output / f"proof_{settings.slug}.json").write_text(json.dumps({**summary, "steps": outcomes}, indent=1) + "\n")
    return int(any(outcome.startswith(("failed", "stopped")) for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())

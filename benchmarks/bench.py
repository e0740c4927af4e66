"""`make bench`: the original algorithm in PyTorch against this server, same weights, interleaved in one run.

Official sizes with made-up weights unless --weights names real ones (arithmetic does not depend on their values).
Measures frames per second end to end, time per stage, the first fragment for a short and a long recording, four
clients at once, Triton against a bare session loop, and the distance to the machine's matrix-product ceiling.
One side is in memory at a time. Writes benchmarks/results/bench_<preset>_<processor>.json and .png, and the tables in
README.md, one for each processor that has results.
"""

import argparse
import gc
import io
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import tritonclient.grpc as triton
from hardware import describe, need_memory, slug
from PIL import Image
from reference import Reference
from report import plot, write_tables
from rich.console import Console
from rich.progress import Progress
from sadtalker_client import SadTalkerClient
from sadtalker_export.checkpoint import loading, synthetic
from sadtalker_export.onnx import flops
from sadtalker_export.onnx.repository import export_repository
from sadtalker_export.presets import PRESETS
from sadtalker_export.specs import FRAMES, SPECS
from sadtalker_runtime.onnx_backend.session import open_session
from sadtalker_server import Server
from soak import long_speech

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
REFERENCE_GFLOP = 1203.0  # per frame of the original's renderer, 256 x 256, official sizes
CLIENTS = 4
MEMORY_GB = {"official": 18.0, "demo": 4.0, "tiny": 4.0}
"""For two sessions of the renderer, Triton's and the bare one's (7.4 GB each in official sizes), and PyTorch."""
LONG_SECONDS = 60

console = Console(stderr=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="official", help="sizes, with made-up weights")
    parser.add_argument("--weights", type=Path, help="a directory of checkpoint files instead")
    parser.add_argument("--frames", type=int, default=20, help="per video; at least 5")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--variants", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    args = parser.parse_args()
    need_memory(MEMORY_GB["official" if args.weights else args.preset])
    what = f"{args.frames} frames per video, {args.rounds} rounds, one side at a time"
    result = {"what": what, **describe()}
    preset, networks, repository = prepare(args)
    result |= {"preset": preset, "ceiling_gflops": ceilings()}
    result["gflop_per_frame"] = {
        "reference": REFERENCE_GFLOP if preset == "official" else None,
        **{variant: gflop_per_frame(repository, variant) for variant in args.variants},
    }
    speech = long_speech_frames(args.frames)
    del networks  # official networks take gigabytes: only one thing runs at a time
    result["end_to_end"] = end_to_end(repository, speech, args)
    fastest = args.variants[-1]
    serving: dict[str, object] = {"variant": fastest}
    with serve(repository, fastest) as server:
        animate(server, portrait(-1), long_speech_frames(FRAMES))
        for name, measure in {
            "first_fragment_seconds": lambda: first_fragments(server),
            "triton_over_bare": lambda: triton_over_bare(server, repository),
            "four_clients": lambda: four_clients(server, speech, args.frames),
        }.items():
            console.print(name)
            serving[name] = measure()
    result["serving"] = serving
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"bench_{preset}_{slug()}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    plot(result, path.with_suffix(".png"))
    if preset == "official":
        write_tables(RESULTS, ROOT / "README.md", ROOT)
    console.print(f"{path}")
    return 0


def prepare(args: argparse.Namespace) -> tuple[str, dict[str, torch.nn.Module], Path]:
    """Return the networks and a model repository with their ONNX files, made anew in build/ only where they changed."""
    console.print("loading weights")
    name, networks = load_networks(args)
    repository = ROOT / "build" / "bench" / name / "model_repository"
    shutil.copytree(ROOT / "model_repository", repository, dirs_exist_ok=True, ignore=_exported)
    with Progress(console=console) as bar:
        export_repository(networks, name, repository, bar, "bf16")  # has the files of fp32 too
    return name, networks, repository


def load_networks(args: argparse.Namespace) -> tuple[str, dict[str, torch.nn.Module]]:
    """Return the preset and the networks that the arguments name."""
    if args.weights:
        preset, networks = loading.load_directory(args.weights)
        return preset.name, networks
    return args.preset, loading.synthetic_networks(PRESETS[args.preset])


def gflop_per_frame(repository: Path, variant: str) -> float:
    """Return the arithmetic of a frame in the graphs of a variant."""
    renderer = "model_bf16.onnx" if variant == "bf16" else "model.onnx"
    files = (repository / "motion" / "1" / "model.onnx", repository / "face_renderer" / "1" / renderer)
    return sum(flops.count(file).total() for file in files) / FRAMES / 1e9


def serve(repository: Path, variant: str) -> Server:
    """Run a server on free ports that computes in a precision."""
    return Server(repository, model_config_name=None if variant == "fp32" else variant)


_exported = shutil.ignore_patterns("*.onnx", "exported.json")


def end_to_end(repository: Path, speech: bytes, args: argparse.Namespace) -> dict[str, dict[str, object]]:
    """Measure frames per second of everyone in turn, one in memory at a time; also the stages of the last round."""
    seconds: dict[str, list[float]] = {name: [] for name in ("reference", *args.variants)}
    stages: dict[str, dict[str, float]] = {}
    with Progress(console=console) as bar:
        task = bar.add_task("videos", total=args.rounds * len(seconds))
        for round_ in range(args.rounds):
            for name in seconds:
                bar.update(task, description=f"round {round_ + 1}, {name}")
                run = run_reference if name == "reference" else run_server
                taken, stages[name] = run(repository, name, portrait(round_), speech, args)
                seconds[name].append(taken)
                bar.advance(task)
    return {
        name: {
            "seconds": [round(s, 3) for s in seconds[name]],
            "frames_per_second": args.frames / statistics.median(seconds[name]),
            "times_reference": statistics.median(
                r / s for r, s in zip(seconds["reference"], seconds[name], strict=True)
            ),
            "stage_seconds": {k: round(v, 3) for k, v in stages[name].items()},
        }
        for name in seconds
    }


def run_reference(
    repository: Path, name: str, image: bytes, speech: bytes, args: argparse.Namespace
) -> tuple[float, dict[str, float]]:
    """Measure seconds of a video by the original algorithm, and of its stages; its networks are gone afterwards."""
    reference = Reference(load_networks(args)[1])
    start = time.perf_counter()
    reference.animate(image, speech)
    taken, stages = time.perf_counter() - start, dict(reference.seconds)
    del reference
    gc.collect()
    return taken, stages


def run_server(
    repository: Path, name: str, image: bytes, speech: bytes, args: argparse.Namespace
) -> tuple[float, dict[str, float]]:
    """Measure seconds of a video by a server of one variant, and of its networks; it is stopped afterwards."""
    with serve(repository, name) as server:
        animate(server, portrait(-1), long_speech_frames(FRAMES))  # first executions compile kernels
        before = model_seconds(server)
        start = time.perf_counter()
        animate(server, image, speech)
        taken, after = time.perf_counter() - start, model_seconds(server)
    return taken, {k: after[k] - before[k] for k in after if after[k] > before[k]}


def first_fragments(server: Server) -> dict[str, float]:
    """Measure seconds to the first fragment for a 2 s and a 60 s recording, a new portrait each, the rest cancelled.

    `its_networks` is what the networks computed for a whole video of one chunk, a new portrait too: the least that a
    first fragment can take.
    """
    found = {}
    one_chunk = long_speech_frames(FRAMES)
    for seed, seconds in ((100, 2), (101, LONG_SECONDS)):
        start = time.perf_counter()
        with SadTalkerClient(server.grpc_url) as client, client.animate(portrait(seed), long_speech(seconds)) as video:
            next(video)
            found[f"{seconds}_s"] = round(time.perf_counter() - start, 3)
        animate(server, portrait(seed), one_chunk)  # waits behind the chunks that Triton already has
    before = model_seconds(server)
    start = time.perf_counter()
    animate(server, portrait(102), one_chunk)
    found["one_chunk_video"] = round(time.perf_counter() - start, 3)
    found["its_networks"] = round(sum(model_seconds(server).values()) - sum(before.values()), 3)
    return found


def four_clients(server: Server, speech: bytes, frames: int) -> dict[str, float]:
    """Measure frames per second of one client and of four at once; chunks per execution of the renderer meanwhile."""
    image = portrait(200)
    animate(server, image, long_speech_frames(FRAMES))  # the portrait is then known
    start = time.perf_counter()
    animate(server, image, speech)
    one = frames / (time.perf_counter() - start)
    before = _renderer_counts(server)
    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda _: animate(server, image, speech), range(CLIENTS)))
    four = CLIENTS * frames / (time.perf_counter() - start)
    chunks, executions = (now - then for now, then in zip(_renderer_counts(server), before, strict=True))
    return {
        "frames_per_second_of_one": round(one, 4),
        "frames_per_second_of_four": round(four, 4),
        "mean_chunks_per_execution": round(chunks / executions, 3),
    }


def triton_over_bare(server: Server, repository: Path, runs: int = 3) -> dict[str, float]:
    """Measure the renderer's throughput through Triton and gRPC over that of its session called directly; one chunk."""
    spec = SPECS["face_renderer"]
    inputs = {t.name: synthetic.named_input(t.name, (1, *t.shape), -0.3, 0.3) for t in spec.inputs}
    client = triton.InferenceServerClient(server.grpc_url)
    config = client.get_model_config("face_renderer", headers=server.admin_headers, as_json=True)["config"]
    for tensor in (*config["input"], *config["output"]):
        tensor["dims"] = list(map(int, tensor["dims"]))  # 64-bit numbers are strings in JSON
    file = config.get("default_model_filename") or "model.onnx"
    session = open_session(repository / "face_renderer" / "1" / file, config, "CPU", "0")
    tensors = []
    for name, array in inputs.items():
        tensors.append(triton.InferInput(name, array.shape, "FP32"))
        tensors[-1].set_data_from_numpy(array)
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: session.run(None, inputs),
        "triton": lambda: client.infer("face_renderer", tensors),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(runs + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [b / t for b, t in zip(seconds["bare"], seconds["triton"], strict=True)]
    return {
        "throughput_ratio": round(statistics.median(ratios), 4),
        "ratios": [round(r, 4) for r in ratios],
        "bare_seconds_per_frame": round(median["bare"] / FRAMES, 4),
        "triton_seconds_per_frame": round(median["triton"] / FRAMES, 4),
    }


def ceilings() -> dict[str, float]:
    """Measure GFLOP/s of large matrix products with all cores, by precision: the best of several."""
    found = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(2, 2048, 2048).to(dtype)
        best = 0.0
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * 2048**3 / (time.perf_counter() - start) / 1e9)
        found[name] = round(best, 1)
    return found


def animate(server: Server, image: bytes, speech: bytes) -> bytes:
    with SadTalkerClient(server.grpc_url) as client:
        return client.animate(image, speech).read()


def portrait(seed: int) -> bytes:
    """Return the example portrait, different in one pixel for every seed, so that no cache knows it."""
    image = Image.open(ROOT / "examples" / "portrait.jpg").convert("RGB")
    image.putpixel((0, 0), tuple(int(v) for v in np.random.default_rng(seed + 1000).integers(0, 256, 3)))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def long_speech_frames(frames: int) -> bytes:
    """Return the beginning of the example speech, as long as so many video frames."""
    return long_speech(frames / 25)


def model_seconds(server: Server) -> dict[str, float]:
    """Return seconds that each network has computed since the server started."""
    client = triton.InferenceServerClient(server.grpc_url)
    models = client.get_inference_statistics(headers=server.admin_headers).model_stats
    return {
        model.name: sum(batch.compute_infer.ns for batch in model.batch_stats) / 1e9
        for model in models
        if model.name in SPECS
    }


def _renderer_counts(server: Server) -> tuple[int, int]:
    client = triton.InferenceServerClient(server.grpc_url)
    [model] = client.get_inference_statistics("face_renderer", headers=server.admin_headers).model_stats
    return model.inference_count, model.execution_count


if __name__ == "__main__":
    sys.exit(main())

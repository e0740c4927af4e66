"""Time to the first fragment when many videos run: `python benchmarks/admission.py [--videos 16 --seconds 2]`.

Videos come one after the other, `--every` seconds apart, to a server that is soon busy with all of them. Twice, in one
run: with chunks admitted in one order (first chunks first, then what is due soonest, so many at a time), and as
before, when every chunk went to the renderer's queue at once. Every video must have the same bytes in both.
With `--simulated SECONDS` there is no server: the real animator and encoder, with a renderer that takes so long for a
chunk, one after the other; then the machine's other work does not count. Writes benchmarks/results/admission.json.
"""

import argparse
import asyncio
import json
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from hardware import describe
from host import InstantNetworks, Unobserved
from perf_analyzer.inputs import cut_speech
from sadtalker_client import SadTalkerClient
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.options import Options
from sadtalker_server import Server

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT / "examples" / "speech.wav"
RESULTS = ROOT / "benchmarks" / "results"
UNBOUNDED = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2, help="length of each")
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two requests")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    parser.add_argument("--chunks-at-once", type=int, default=8, help="of the admission that is measured")
    parser.add_argument("--simulated", type=float, metavar="SECONDS", help="a renderer that takes so long for a chunk")
    args = parser.parse_args()
    ways = {"as they come": UNBOUNDED, "admitted in one order": args.chunks_at_once}
    results, videos = {}, {}
    for way, chunks in ways.items():
        if args.simulated:
            simulation = simulate(args.simulated, chunks, args.videos, args.seconds, args.every)
            results[way], videos[way] = asyncio.run(simulation)
        else:
            results[way], videos[way] = measure(args.repository, chunks, args.videos, args.seconds, args.every)
        print(way, json.dumps(results[way]), flush=True)  # noqa: T201
    before, after = results.values()
    ratio = {name: round(before[name] / after[name], 2) for name in before}
    result = {
        "what": f"{args.videos} videos of {args.seconds:g} s, one every {args.every:g} s; seconds",
        "renderer": f"simulated: {args.simulated:g} s for a chunk, one after the other"
        if args.simulated
        else json.loads((args.repository / "exported.json").read_text())["preset"],
        "chunks_at_once": args.chunks_at_once,
        **describe(),
        "ways": results,
        "ratio": ratio,
        "same_bytes": videos["as they come"] == videos["admitted in one order"],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "admission.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(ratio), "same bytes:", result["same_bytes"])  # noqa: T201
    return 0 if result["same_bytes"] else 1


def measure(
    repository: Path, chunks_at_once: int, videos: int, seconds: float, every: float
) -> tuple[dict[str, float], list[bytes]]:
    """Return times to the first fragment and to the end of all, and the videos."""
    portrait, speech = (ROOT / "examples" / "portrait.jpg").read_bytes(), cut_speech(SPEECH, seconds)
    firsts, made = [0.0] * videos, [b""] * videos
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model_repository"
        shutil.copytree(repository, copy)
        config = copy / "sadtalker" / "config.pbtxt"
        text, changed = re.subn(
            r'("chunks_at_once" value: \{ string_value: )"\d+"', rf'\1"{chunks_at_once}"', config.read_text()
        )
        assert changed == 1
        config.write_text(text)
        with Server(copy) as server, SadTalkerClient(server.grpc_url, timeout=900) as client:
            client.animate(portrait, cut_speech(SPEECH, 0.4)).read()  # the portrait is known, the networks are warm

            def make(number: int) -> None:
                start, parts = time.perf_counter(), []
                for fragment in client.animate(portrait, speech, seed=number):
                    if not parts:
                        firsts[number] = time.perf_counter() - start
                    parts.append(fragment.data)
                made[number] = b"".join(parts)

            start = time.perf_counter()
            threads = [threading.Thread(target=make, args=(number,)) for number in range(videos)]
            for thread in threads:
                thread.start()
                time.sleep(every)
            for thread in threads:
                thread.join()
            took = time.perf_counter() - start
    return summary(firsts, took), made


async def simulate(
    chunk_seconds: float, chunks_at_once: int, videos: int, seconds: float, every: float
) -> tuple[dict[str, float], list[bytes]]:
    """Give what `measure` gives, of the animator alone with a renderer of a known speed."""
    networks, renderer = InstantNetworks(), asyncio.Lock()

    async def call(model: str, inputs: dict[str, Array], *outputs: str) -> list[Array]:
        if not model.startswith("render_frames"):
            return await networks.call(model, inputs, *outputs)
        async with renderer:  # which is first come, first served, as Triton's queue
            await asyncio.sleep(chunk_seconds)
            return [networks.chunk(0)]

    animator = Animator(call, lambda model: True, Unobserved(), 256, 600, 3, 4, chunks_at_once)
    firsts, speech = [0.0] * videos, cut_speech(SPEECH, seconds)

    async def make(number: int) -> bytes:
        await asyncio.sleep(number * every)
        begun, parts = time.perf_counter(), []
        async for part in animator.animate(b"portrait", speech, Options(seed=number)):
            if not parts:
                firsts[number] = time.perf_counter() - begun
            parts.append(part.video)
        return b"".join(parts)

    start = time.perf_counter()
    made = await asyncio.gather(*(make(number) for number in range(videos)))
    return summary(firsts, time.perf_counter() - start), made


def summary(firsts: list[float], took: float) -> dict[str, float]:
    """Compute percentiles of the times to the first fragment, and the time of all, seconds."""
    result = {
        "first_fragment_p50": float(np.percentile(firsts, 50)),
        "first_fragment_p95": float(np.percentile(firsts, 95)),
        "first_fragment_mean": statistics.mean(firsts),
        "all_videos": took,
    }
    return {name: round(value, 2) for name, value in result.items()}


if __name__ == "__main__":
    sys.exit(main())

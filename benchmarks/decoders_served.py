"""The price of decoder processes for callers: this server against that of another commit, request by request in turns.

    git worktree add /tmp/before COMMIT && make -C /tmp/before setup
    python benchmarks/decoders_served.py --baseline /tmp/before [--rounds N] [--repository DIR]

COMMIT is the last one that decodes in the model's own process. Both servers run at the same time over the same exported
networks and answer the same requests, one after the other. Writes benchmarks/results/decoders_served.json: seconds to
the first fragment and to the whole video, medians, the median of the pairwise ratios (above 1: slower than before), and
by how much the first fragment is later.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import hostile
from faults import Launcher
from hardware import describe
from sadtalker_client import SadTalkerClient

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "decoders_served.json"
PORTRAIT, SPEECH = ROOT / "examples" / "portrait.jpg", ROOT / "examples" / "speech.wav"


def launched(tree: Path, exported: Path, folder: Path) -> Launcher:
    """Start the server of a source tree and its environment over its models, with the networks of `exported`."""
    repository = folder / "model_repository"
    shutil.copytree(tree / "model_repository", repository, ignore=shutil.ignore_patterns("*.onnx", "exported.json"))
    for file in [*exported.glob("*/1/*.onnx"), exported / "exported.json"]:
        shutil.copy(file, repository / file.relative_to(exported))
    return Launcher(repository, tree / ".venv" / "bin")


def timed(client: SadTalkerClient, arguments: dict[str, object]) -> tuple[float, float]:
    """Return the seconds until the first fragment of a video, and until its end."""
    start = time.perf_counter()
    video = client.animate(PORTRAIT, **arguments)
    next(video)
    first = time.perf_counter() - start
    for _ in video:
        pass
    return first, time.perf_counter() - start


def compared(before: list[tuple[float, float]], now: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Return medians, the median of ratios and that of differences, for the first fragment and the whole video."""
    result = {}
    for index, name in enumerate(("first_fragment", "whole_video")):
        old, new = ([times[index] for times in side] for side in (before, now))
        result[name] = {
            "before_seconds": round(statistics.median(old), 4),
            "now_seconds": round(statistics.median(new), 4),
            "ratio": round(statistics.median(b / a for a, b in zip(old, new, strict=True)), 4),
            "later_ms": round(1000 * statistics.median(b - a for a, b in zip(old, new, strict=True)), 1),
        }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--baseline", type=Path, required=True, help="source tree of the other commit")
    parser.add_argument("--rounds", type=int, default=15, help="requests of each kind to each server (15)")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    args = parser.parse_args()
    requests = {
        "speech": {"speech": SPEECH},
        "driving video": {"driving": hostile.face_video(50)},
    }
    machine = describe()
    with ExitStack() as stack:
        clients = []
        for tree in (args.baseline.resolve(), ROOT):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            server = stack.enter_context(launched(tree, args.repository, folder))
            clients.append(stack.enter_context(SadTalkerClient(server.grpc)))
        cases = {}
        for name, arguments in requests.items():
            pairs: list[list[tuple[float, float]]] = [[], []]
            for number in range(args.rounds + 1):
                for side in (0, 1) if number % 2 else (1, 0):
                    pairs[side].append(timed(clients[side], arguments))
            cases[name] = compared(pairs[0][1:], pairs[1][1:])
            print(name, json.dumps(cases[name]), flush=True)  # noqa: T201
    preset = json.loads((args.repository / "exported.json").read_text())["preset"]
    RESULT.write_text(json.dumps({"rounds": args.rounds, "preset": preset, **machine, "cases": cases}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

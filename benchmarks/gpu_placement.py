"""Step of `make gpu-proof`: the exported graphs in ONNX Runtime on the GPU: which kernel runs where, and how fast.

Every network of a model repository runs once under ONNX Runtime's profiler, which tells the execution provider of each
node. A node that computes on the processor instead of the GPU is a fallback: it copies tensors there and back, often
silently. Only operations on shapes belong on the processor. Then each batch size is timed, copies included.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from rich.console import Console
from rich.progress import Progress
from sadtalker_export.errors import UsageError
from sadtalker_export.onnx.graph import metadata, sample
from sadtalker_export.restoration_specs import SERVED_SPECS
from sadtalker_export.specs import NetworkSpec
from sadtalker_runtime.configurations.variants import NETWORKS
from sadtalker_runtime.manifest import ManifestError, read_manifest

PROVIDERS = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
SHAPES = {"Shape", "Gather", "Unsqueeze", "Squeeze", "Concat", "Slice", "Cast", "Range", "ConstantOfShape", "Size"} | {
    *("Add", "Sub", "Mul", "Div", "Reshape", "Expand", "Where", "Equal", "Identity", "Constant", "ReduceProd", "Mod"),
}
"""Operators that ONNX Runtime keeps on the processor where they compute shapes; on tensors they count as fallbacks."""
SHAPE_ELEMENTS = 64
"""The most elements of a shape, or of a result computed from shapes."""
COPIES = {"MemcpyToHost", "MemcpyFromHost"}


def placement(events: Iterable[Mapping[str, Any]], provider: str) -> dict[str, Any]:
    """Return where a profile's nodes ran: `nodes` and `ms` by provider, the `fallbacks`, the `copies` in between.

    Args:
        events: of ONNX Runtime's profile, a list in Chrome's trace format.
        provider: the one that all but shapes belong to.

    Fallbacks are counted by operator; nodes are counted once however often they ran.
    """
    nodes: dict[str, set[str]] = {}
    ms: Counter[str] = Counter()
    fallbacks: dict[str, set[str]] = {}
    copies: set[str] = set()
    for event in events:
        name, details = str(event.get("name", "")), event.get("args", {})
        if event.get("cat") != "Node" or not name.endswith("_kernel_time"):
            continue
        operator, ran = details["op_name"], details["provider"]
        nodes.setdefault(ran, set()).add(name)
        ms[ran] += event["dur"] / 1e3
        if operator in COPIES:
            copies.add(name)
        elif ran != provider and not (operator in SHAPES and _is_small(details)):
            fallbacks.setdefault(operator, set()).add(name)
    return {
        "nodes": {ran: len(names) for ran, names in sorted(nodes.items())},
        "ms": {ran: round(value, 3) for ran, value in sorted(ms.items())},
        "fallbacks": {operator: len(names) for operator, names in sorted(fallbacks.items())},
        "copies": len(copies),
    }


def profile(path: Path, provider: str, feed: Mapping[str, Any]) -> dict[str, Any]:
    """Run a graph once under the profiler and return its `placement`."""
    with tempfile.TemporaryDirectory(prefix="sadtalker-profile-") as folder:
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        options.log_severity_level = 3
        session = open_session(path, provider, options)
        session.run(None, feed)
        return placement(json.loads(Path(session.end_profiling()).read_text()), provider)


def open_session(path: Path, provider: str, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    """Return a session that runs on a provider, or raise `UsageError`: it never falls back to another."""
    if provider not in onnxruntime.get_available_providers():
        found = ", ".join(onnxruntime.get_available_providers())
        raise UsageError(f"expected an onnxruntime {onnxruntime.__version__} with {provider}, found {found}")
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider], enable_fallback=0)
    if session.get_providers()[0] != provider:
        raise UsageError(f"{provider} could not be loaded; onnxruntime's reason is in the log above")
    return session


def milliseconds(session: onnxruntime.InferenceSession, feed: Mapping[str, Any], seconds: float) -> float:
    """Return the median of a run, copies to and from the device included, measured for about so long."""
    session.run(None, feed)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 3)


def examine(spec: NetworkSpec, path: Path, device: str, seconds: float, batches: Iterable[int]) -> dict[str, Any]:
    """Return a network's placement, and milliseconds by batch size."""
    feeds = {n: {t.name: np.concatenate([sample(spec, t, 1)] * n) for t in spec.inputs} for n in batches}
    found: dict[str, Any] = {"precision": metadata(path).get("precision", "unknown")}
    found |= profile(path, PROVIDERS[device], feeds[min(feeds)])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = open_session(path, PROVIDERS[device], options)
    return {**found, "ms_by_batch": {str(n): milliseconds(session, feed, seconds) for n, feed in feeds.items()}}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, required=True, help="with exported networks")
    parser.add_argument("--device", choices=PROVIDERS, default="cuda")
    parser.add_argument("--largest-batch", type=int, default=8, help="batch sizes above are left out")
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long each measurement lasts")
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    args = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        manifest = read_manifest(args.repository)
        networks: dict[str, Any] = {}
        with Progress(console=console) as bar:
            task = bar.add_task("networks", total=len(manifest.models))
            for name in manifest.models:
                bar.update(task, description=name)
                path = args.repository / name / "1" / "model.onnx"
                sizes = NETWORKS[name].batches
                batches = [n for n in sizes if n <= args.largest_batch] or [min(sizes)]
                networks[name] = examine(SERVED_SPECS[name], path, args.device, args.seconds, batches)
                bar.advance(task)
    except (UsageError, ManifestError) as error:
        console.print(f"error: {error}", highlight=False, soft_wrap=True)
        return 2
    fallbacks = {name: found["fallbacks"] for name, found in networks.items() if found["fallbacks"]}
    what = "nodes and milliseconds by provider in one profiled run; median milliseconds of a run by batch size"
    result = {"what": what, "device": args.device, "onnxruntime": onnxruntime.__version__, "preset": manifest.preset}
    args.output.write_text(json.dumps({**result, "fallbacks": fallbacks, "networks": networks}, indent=1) + "\n")
    if fallbacks:
        console.print(f"error: these nodes fall back to the processor: {fallbacks}", highlight=False, soft_wrap=True)
    return 1 if fallbacks else 0


def _is_small(details: Mapping[str, Any]) -> bool:
    """Return whether a node's results have as few numbers as shapes do; sizes that are not told count as small."""
    shapes = [shape for typed in details.get("output_type_shape", []) for shape in typed.values()]
    return all(np.prod(shape, dtype=np.int64) <= SHAPE_ELEMENTS for shape in shapes)


if __name__ == "__main__":
    sys.exit(main())

"""The origin of a figure: machine, versions, commit."""

import datetime
import importlib.metadata
import platform
import re
import subprocess
import sys
from pathlib import Path

from sadtalker_runtime.processor import describe_hardware, this_processor

PACKAGES = ("torch", "onnxruntime-openvino", "nvidia-pytriton", "numpy", "opencv-python-headless", "av")


def describe() -> dict[str, object]:
    """Describe hardware, package versions, commit and date, for the head of a results file."""
    return {
        "hardware": describe_hardware(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def describe_gpu() -> dict[str, object]:
    """Return the first GPU that PyTorch sees, and the libraries it computes with."""
    import torch

    properties = torch.cuda.get_device_properties(0)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return {
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "driver": _answer(query).partition("\n")[0] or None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def slug() -> str:
    """Return the processor as part of a file's name: its model, how it computes in bf16, its cores."""
    processor = this_processor()
    words = re.sub(r"\([^)]*\)|@.*|CPU|Processor", " ", processor.name).lower()
    kinds = [flag.replace("_", "-") for flag in ("amx_bf16", "avx512_bf16") if flag in processor.extensions]
    return "-".join([*re.findall(r"[a-z0-9]+", words), *kinds[:1], f"{processor.cores}-cores"])


def need_memory(gigabytes: float) -> None:
    """Exit, saying how much memory a benchmark needs and how much is available, where that is less."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable" and (available := int(value.split()[0]) * 1024 / 1e9) < gigabytes:
            sys.exit(
                f"this needs {gigabytes:g} GB of memory, {available:.1f} GB are available: stop other programs first"
            )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    return _answer(["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10"]) or "unknown"


def _answer(command: list[str]) -> str:
    """Return what a program prints; nothing where it is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""

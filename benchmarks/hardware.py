"""What a figure was measured on: machine, versions, commit."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("torch", "onnxruntime-openvino", "nvidia-pytriton", "numpy", "av")


def describe() -> dict[str, object]:
    """Hardware, package versions, commit and date, for the head of a results file."""
    return {
        "hardware": {"cpu": cpu_name(), "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 2)},
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    }


def cpu_name() -> str:
    """The processor's model name and its widest vector extensions."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    flags = set(fields.get("flags", "").split()) & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}
    return f"{fields.get('model name', platform.processor())} ({', '.join(sorted(flags))})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"

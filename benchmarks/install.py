"""Measures a fresh installation: what is downloaded, and how long the first `make demo` of a clone takes.

    python benchmarks/install.py [--seconds-only | --sizes-only]

Sizes are those of the files that pip would download (`pip install --dry-run --report`, then each file's length), in an
empty environment. Seconds are one `make demo` in a clone of the committed tree, without caches of pip and uv; its steps
are timed separately, because that of the packages depends on the network. Writes benchmarks/results/install.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, url2pathname, urlopen

from hardware import describe
from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "install.json"
INSTALLATIONS = {"client": [""], "server": ["[server]"], "make demo": ["[server]", "uv"]}
"""Extras of this package, and other packages."""
LARGEST = 5  # files that are named


def clone(folder: Path) -> Path:
    """Return a clone of the committed tree."""
    tree = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, tree], check=True)
    return tree


def length(url: str) -> int:
    """Return the bytes of a file on a server or on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path)).stat().st_size
    with urlopen(Request(url, method="HEAD"), timeout=60) as answer:
        return int(answer.headers["Content-Length"])


def downloads(python: Path, requirements: list[str], report: Path) -> dict[str, int]:
    """Return the files that pip would download, by name, and their bytes."""
    command = [python, "-m", "pip", "install", "--quiet", "--dry-run", "--report", report, *requirements]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    urls = [each["download_info"]["url"] for each in json.loads(report.read_text())["install"]]
    files = [url for url in urls if url.endswith(".whl") or ".tar." in url]  # the clone itself is a folder
    return {Path(urlsplit(url).path).name: length(url) for url in files}


def sizes(tree: Path, folder: Path) -> dict[str, object]:
    """Return the sizes of the wheel and of what each installation downloads."""
    venv.create(folder / "empty", with_pip=True)
    python = folder / "empty" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, tree], check=True, timeout=600
    )
    (wheel,) = folder.glob("sadtalker_triton-*.whl")
    result: dict[str, object] = {"wheel_bytes": wheel.stat().st_size}
    for name, parts in INSTALLATIONS.items():
        requirements = [f"{tree}{part}" if part == "" or part.startswith("[") else part for part in parts]
        files = downloads(python, requirements, folder / f"{name}.json")
        largest = sorted(files, key=files.__getitem__, reverse=True)[:LARGEST]
        result[name] = {
            "files": len(files),
            "bytes": sum(files.values()),
            "largest": {file: files[file] for file in largest},
        }
    return result


def seconds(tree: Path) -> dict[str, float]:
    """Return the seconds of the first `make demo` of a clone: of its three steps, and together."""
    environment = {**os.environ, "PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1"}
    result = {}
    for name, target in (("packages", ".venv/.runnable"), ("networks", "repository"), ("video", "demo")):
        begin = time.perf_counter()
        subprocess.run(["make", target, f"PYTHON={sys.executable}"], cwd=tree, env=environment, check=True, timeout=900)
        result[name] = round(time.perf_counter() - begin, 1)
    if missing := [made for made in ("demo.mp4", "demo.png") if not (tree / "out" / made).is_file()]:
        raise FileNotFoundError(f"make demo did not write {missing}")
    return {"first_make_demo": round(sum(result.values()), 1), **result}


def main() -> int:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--sizes-only", action="store_true")
    only.add_argument("--seconds-only", action="store_true")
    arguments = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.is_file() else {}
    result |= describe()
    with tempfile.TemporaryDirectory(prefix="sadtalker-install-") as name:
        tree = clone(Path(name))
        if not arguments.seconds_only:
            result["downloads"] = sizes(tree, Path(name))
        if not arguments.sizes_only:
            result["seconds"] = seconds(tree)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    Console().print_json(data={key: result[key] for key in ("downloads", "seconds") if key in result})
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""From `Send` to a moving face, as a person at the gateway's page sees it: `python benchmarks/gateway.py`.

Starts the server and the gateway, opens the page in Debian's Chromium, chooses the example portrait, waits until its
idle loop plays, and sends the two texts of a published system (one sentence, two sentences): in low quality a number of
times each, in high quality once each, interrupted after a while. Times are taken by the page itself: from the click to
the first picture of the answer on the screen (`requestVideoFrameCallback`), and to the arrival of the last byte. Writes
benchmarks/results/gateway.json. About 9 minutes on 2 cores.

High quality needs the face enhancer. Where the repository has none, it gets one in GFP-GAN's layout and size with
synthetic weights: its times are those of the real one, its pictures are not.

The published system (thesis, Zagreb 2024: GlowTTS, MakeItTalk, CodeFormer for high quality; EPYC 7763, A100 40 GB)
shows nothing before a video is complete; its figures are the best and worst of its table, which differ in how many
frames it computes at once.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hardware import describe
from rich.console import Console
from sadtalker_runtime.manifest import ExportedFile, Manifest, read_manifest, write_manifest
from sadtalker_server import Server
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "gateway.json"
TEXTS = {
    "one sentence": "Hi, how are you today?",
    "two sentences": (
        "The serene lake reflected the colors of the sunset like a painter's masterpiece. In the bustling city, amidst "
        "the honking cars and hurried pedestrians, she found a moment of quiet in a quaint cafe."
    ),
}
PUBLISHED = {  # seconds from text to finished video, the fastest and the slowest setting
    "one sentence": {"GPU low": [48, 52], "GPU high": [589, 1140], "CPU low": [65, 83]},
    "two sentences": {"GPU low": [48, 53], "GPU high": [1075, 1961], "CPU low": [103, 140]},
}
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
]
IDLE = "document.body.dataset.state === 'idle' && document.getElementById('face').loop"


class Page:
    """The gateway's page with an idle portrait, in a browser."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver, self._url = driver, url

    def wait(self, expression: str, seconds: float) -> bool:
        """Return whether a JavaScript expression comes true in time."""
        waiting = WebDriverWait(self._driver, seconds, poll_frequency=0.05)
        try:
            waiting.until(lambda _: self.js(expression))
        except TimeoutException:
            return False
        return True

    def js(self, expression: str) -> Any:
        return self._driver.execute_script(f"return {expression}")

    def choose(self, portrait: Path) -> None:
        """Choose a picture and wait until it moves."""
        if not self.wait("document.getElementById('voice').options.length > 0", 60):
            raise RuntimeError("the page has no voices")
        self._driver.find_element("id", "picture").send_keys(str(portrait))
        if not self.wait(IDLE, 300):
            raise RuntimeError(f"no idle loop: {self.js('document.body.innerText')}")

    def say(self, text: str, quality: str, limit: float) -> dict[str, float | None]:
        """Have the page say a text, for at most so many seconds; return the page's times."""
        before = self.js("document.querySelectorAll('#history li').length")
        self._driver.execute_script(
            "delete document.body.dataset.first; delete document.body.dataset.received;"
            f"document.querySelector('input[name=quality][value={quality}]').checked = true"
        )
        self._driver.find_element("id", "text").send_keys(text)
        self._driver.find_element("id", "send").click()
        ended = self.wait(f"document.querySelectorAll('#history li').length > {before}", limit)
        with urllib.request.urlopen(f"{self._url}/v1/videos?limit=1") as answer:
            (video,) = json.load(answer)["data"]
        times = self.js("{...document.body.dataset}")
        if not ended:
            self._driver.find_element("id", "stop").click()
        if not self.wait(IDLE, 60):
            raise RuntimeError(f"the page did not come to rest: {self.js('document.body.innerText')}")
        result: dict[str, float | None] = {
            "first_picture_seconds": round(float(times["first"]), 2) if "first" in times else None,
            "complete_seconds": round(float(times["received"]), 2) if ended else None,
            "video_seconds": float(video["seconds"]),
        }
        return result if ended else {**result, "interrupted_after_seconds": limit, "percent_made": video["progress"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of each text in low quality")
    parser.add_argument(
        "--high-seconds", type=float, default=90, help="after which high quality is interrupted; 0: none"
    )
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    parser.add_argument("--portrait", type=Path, default=ROOT / "examples" / "portrait.jpg")
    parser.add_argument("--seconds", type=float, default=600, help="longest time for one answer in low quality")
    args = parser.parse_args()
    console = Console(stderr=True)
    start = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"{time.monotonic() - start:5.0f} s  {line}", highlight=False)

    manifest = read_manifest(args.repository)
    results: dict[str, object] = {"what": "from Send to the first picture and to the end, in Chromium", **describe()}
    results["networks"] = manifest.preset
    measured: dict[str, dict[str, object]] = {name: {} for name in TEXTS}
    with tempfile.TemporaryDirectory(prefix="sadtalker-bench-") as folder:
        repository = args.repository
        results["enhancer"] = "the repository's"
        if args.high_seconds and "face_enhancer" not in manifest.models:
            tell(
                "exporting a face enhancer in its official size, with synthetic weights, unless it is in build/enhancer"
            )
            repository = with_enhancer(args.repository, manifest, Path(folder))
            results["enhancer"] = "official size, synthetic weights"
        tell("starting the server, the gateway and the browser")
        running = Server(repository, model_config_name="auto")
        with running as server, gateway(server.grpc_url) as url, browser(url) as driver:
            results["variant"] = server.model_config_name or "fp32"
            page = Page(driver, url)
            tell("choosing the portrait")
            page.choose(args.portrait.resolve())
            for name, text in TEXTS.items():
                runs = []
                for turn in range(args.runs):
                    runs.append(page.say(text, "low", args.seconds))
                    tell(f"low, {name}, {turn + 1} of {args.runs}: {runs[-1]}")
                complete = [run for run in runs if run["complete_seconds"] is not None]
                keys = ("first_picture_seconds", "complete_seconds", "video_seconds")
                medians = (
                    {key: statistics.median(run[key] or 0 for run in complete) for key in keys} if complete else {}
                )
                measured[name]["low"] = {**medians, "runs": runs}
            for name, text in TEXTS.items() if args.high_seconds else ():
                measured[name]["high"] = page.say(text, "high", args.high_seconds)
                tell(f"high, {name}: {measured[name]['high']}")
    results["seconds"] = measured
    results["published_seconds_to_the_end"] = PUBLISHED
    results["took_seconds"] = round(time.monotonic() - start)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    tell(str(RESULTS))
    return 0


def with_enhancer(repository: Path, manifest: Manifest, folder: Path) -> Path:
    """Return a copy of the repository that has the face enhancer, too, which is exported once per exporter."""
    from sadtalker_export.checkpoint.loading import synthetic_networks  # PyTorch: only where it is needed
    from sadtalker_export.onnx.dependencies import exporter_digest
    from sadtalker_export.onnx.graph import export
    from sadtalker_export.presets import PRESETS
    from sadtalker_export.restoration_specs import RESTORATION_SPECS

    kept = ROOT / "build" / "enhancer" / f"{exporter_digest()[:16]}.onnx"
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        spec = RESTORATION_SPECS["face_enhancer"]
        networks = synthetic_networks(PRESETS["official"], {"face_enhancer"})
        partial = kept.with_suffix(".partial")
        export(spec, spec.build(networks), partial)
        partial.replace(kept)
    copy = folder / "repository"
    shutil.copytree(repository, copy)
    path = copy / "face_enhancer" / "1" / "model.onnx"
    shutil.copy(kept, path)
    entry = ExportedFile(path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    models = {**manifest.models, "face_enhancer": {path.name: entry}}
    write_manifest(copy, dataclasses.replace(manifest, models=models))
    return copy


@contextmanager
def gateway(triton_url: str) -> Iterator[str]:
    """Run a gateway as a process of its own, with a store that is deleted afterwards; yields its URL."""
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "sadtalker_gateway.cli", "--triton-url", triton_url, "--port", "0"]
        process = subprocess.Popen([*command, "--store", f"file://{store}"], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1]
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def browser(url: str) -> Iterator[webdriver.Chrome]:
    """Open the page in Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        driver.get(url)
        time.sleep(1)  # let the browser settle
        yield driver
    finally:
        driver.quit()


if __name__ == "__main__":
    sys.exit(main())

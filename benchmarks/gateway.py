"""From `Send` to a moving face, as a person at the gateway's page sees it: `python benchmarks/gateway.py`.

Starts the server and the gateway, opens the page in Debian's Chromium, chooses the example portrait, waits until its
idle loop plays, and sends the two texts of a published system (one sentence, two sentences), a number of times each.
Times are taken by the page itself: from the click to the first picture of the answer on the screen
(`requestVideoFrameCallback`), and to the arrival of the last byte. Writes benchmarks/results/gateway.json.

The published system (thesis, Zagreb 2024: GlowTTS, MakeItTalk, CodeFormer for high quality; EPYC 7763, A100 40 GB)
shows nothing before a video is complete; its figures are the best and worst of its table, which differ in how many
frames it computes at once.
"""

import argparse
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

from hardware import describe
from rich.console import Console
from sadtalker_server import Server
from selenium import webdriver
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of each text and quality")
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    parser.add_argument("--portrait", type=Path, default=ROOT / "examples" / "portrait.jpg")
    parser.add_argument("--seconds", type=float, default=1800, help="longest time for one answer")
    args = parser.parse_args()
    console = Console(stderr=True)
    results: dict[str, object] = {"what": "from Send to the first picture and to the end, in Chromium", **describe()}
    exported = args.repository / "exported.json"
    results["networks"] = json.loads(exported.read_text()).get("preset") if exported.is_file() else None
    measured: dict[str, dict[str, object]] = {}
    with Server(args.repository) as server, gateway(server.grpc_url) as url, browser(url) as driver:

        def wait(expression: str, seconds: float = 60.0) -> None:
            waiting = WebDriverWait(driver, seconds, poll_frequency=0.05)
            waiting.until(lambda _: driver.execute_script(f"return {expression}"))

        wait("document.getElementById('voice').options.length > 0")
        driver.find_element("id", "picture").send_keys(str(args.portrait))
        wait(IDLE, args.seconds)
        with urllib.request.urlopen(f"{url}/v1/features") as answer:
            qualities = json.load(answer)["qualities"]
        for quality in ("low", "high"):
            for name, text in TEXTS.items():
                if quality not in qualities:
                    measured.setdefault(name, {})[quality] = "refused: the server has no networks for it"
                    continue
                runs = []
                for _ in range(args.runs):
                    before = driver.execute_script("return document.querySelectorAll('#history li').length")
                    selector = f"document.querySelector('input[name=quality][value={quality}]').checked = true"
                    driver.execute_script(selector)
                    driver.find_element("id", "text").send_keys(text)
                    driver.find_element("id", "send").click()
                    wait(f"document.querySelectorAll('#history li').length > {before}", args.seconds)
                    wait(IDLE)
                    with urllib.request.urlopen(f"{url}/v1/videos?limit=1") as answer:
                        (video,) = json.load(answer)["data"]
                    times = driver.execute_script("return {...document.body.dataset}")
                    runs.append(
                        {
                            "first_picture_seconds": round(float(times["first"]), 2),
                            "complete_seconds": round(float(times["received"]), 2),
                            "video_seconds": float(video["seconds"]),
                        }
                    )
                    console.print(quality, name, runs[-1])
                medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                measured.setdefault(name, {})[quality] = {**medians, "runs": runs}
    results["seconds"] = measured
    results["published_seconds_to_the_end"] = PUBLISHED
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    console.print(RESULTS)
    return 0


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

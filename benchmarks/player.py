"""First picture and stalls in a browser: Media Source Extensions, as the browser example does, against `<video src>`.

A fake Triton sends a recorded video of six seconds at half, once and twice its pace, and the example's web server
passes it on to Chromium, once to the example's page and once to a plain `<video src>` in it. Times are counted from the
press of Start: to the first picture, while the picture stands still in between, and to the end. Writes
benchmarks/results/player.json. The fake server and the browser are the tests':

    PYTHONPATH=tests/client:client/examples python benchmarks/player.py
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from browser_example import serve
from chromium import chromium
from fake_triton import FakeTriton, final, fragment
from hardware import describe
from portrait_video import CHUNK, FRAME_RATE, PORTRAIT, portrait_video
from selenium.webdriver import Chrome

ROOT = Path(__file__).parents[1]

SECONDS = 6
PACES = 0.5, 1.0, 2.0  # seconds of video that arrive per second
WATCH = """
    const video = document.querySelector("video"), start = document.querySelector("#start")
    window.seen = {stalls: 0, stalled: 0, first: null, end: null}
    let pressed, since = null
    const now = () => (performance.now() - pressed) / 1000
    start.addEventListener("click", () => { pressed = performance.now() }, {capture: true})
    video.requestVideoFrameCallback(() => { seen.first = now() })
    video.addEventListener("waiting", () => {
        if (seen.first !== null && since === null && !video.ended) { since = now(); seen.stalls++ }
    })
    video.addEventListener("playing", () => { if (since !== null) { seen.stalled += now() - since; since = null } })
    video.addEventListener("ended", () => { seen.end = now() })
"""
PLAIN = """
    document.querySelector("#start").onclick = () => {
        const video = document.querySelector("video")
        video.src = "/video.mp4"
        video.play()
    }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "player.json")
    args = parser.parse_args()
    fragments = portrait_video(SECONDS)
    with tempfile.TemporaryDirectory() as profile, chromium(profile) as window:
        report = {
            "what": "seconds from pressing Start to the first picture, of stalls after it, and to the end",
            **describe(),
            "browser": f"{window.capabilities['browserName']} {window.capabilities['browserVersion']}",
            "video_seconds": SECONDS,
            "video_bytes": sum(map(len, fragments)),
            "first_fragment_bytes": len(fragments[0]),
            "paces": [
                {
                    "pace": pace,
                    "media_source": play(window, fragments, pace, plain=False),
                    "video_src": play(window, fragments, pace, plain=True),
                }
                for pace in PACES
            ],
        }
    args.output.write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(args.output.read_text())


def play(window: Chrome, fragments: list[bytes], pace: float, plain: bool) -> dict[str, float | None]:
    """Return the figures of one viewing."""
    triton = FakeTriton().start()
    triton.answer = lambda request: paced(fragments, pace)
    try:
        with tempfile.NamedTemporaryFile() as speech:
            speech.write(b"sound")
            speech.flush()
            with serve(triton.url, PORTRAIT, Path(speech.name), grace_seconds=5) as web:
                window.get(f"http://127.0.0.1:{web.server_port}/")
                window.execute_script(WATCH + (PLAIN if plain else ""))
                window.find_element("id", "start").click()
                deadline = time.monotonic() + 10 * SECONDS / pace
                while window.execute_script("return window.seen.end") is None and time.monotonic() < deadline:
                    time.sleep(0.1)
                figures = window.execute_script("return window.seen")
                window.get("about:blank")
    finally:
        triton.stop()
    return {
        "first_picture_seconds": rounded(figures["first"]),
        "stalls": figures["stalls"],
        "stalled_seconds": rounded(figures["stalled"]),
        "end_seconds": rounded(figures["end"]),
    }


def paced(fragments: list[bytes], pace: float) -> Iterator[object]:
    """Yield a fragment whenever its frames would be made."""
    start = time.monotonic()
    total = SECONDS * FRAME_RATE
    for number, data in enumerate(fragments, 1):
        done = min(number * CHUNK, total)
        time.sleep(max(0.0, start + done / FRAME_RATE / pace - time.monotonic()))
        yield fragment(data, done, total)
    yield final()


def rounded(seconds: float | None) -> float | None:
    """Return hundredths of a second; None if it did not happen."""
    return seconds if seconds is None else round(seconds, 2)


if __name__ == "__main__":
    main()

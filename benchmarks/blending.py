"""Seconds per frame of blending frames into a picture: ours, a chunk at a time, and SadTalker's way, frame by frame.

Both get the same frames, already resized to the rectangle and with a calm border, and come to whole pictures: OpenCV
makes a new one for each frame; ours puts the rectangle into one that is kept, as nothing around it changes. They take
turns, so that both meet the same other load on the machine; times are medians over the turns. `wall` is what passes on
the clock, `cpu` what all threads of the process use. Calming the border, which only ours does, is measured by itself.
Writes benchmarks/results/blending.json.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are too small to be worth sharing among threads

import cv2
import numpy as np
import numpy.typing as npt
from hardware import describe
from sadtalker_runtime.blending.border import CalmBorder
from sadtalker_runtime.blending.poisson import SeamlessRectangle

ROOT = Path(__file__).parents[1]

Bytes = npt.NDArray[np.uint8]
CHUNK = 5
PICTURE = 1080, 1920
RECTANGLES = (256, 256), (384, 360), (512, 512), (720, 701)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "blending.json")
    args = parser.parse_args()
    report = {
        "what": "seconds per frame of blending into a picture of 1920 x 1080",
        **describe(),
        "blas_threads": os.environ["OPENBLAS_NUM_THREADS"],
        "frames_per_chunk": CHUNK,
        "turns": args.turns,
        "rectangles": [measure(height, width, args.turns) for height, width in RECTANGLES],
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n")
    sys.stdout.write(args.output.read_text())


def measure(height: int, width: int, turns: int) -> dict[str, object]:
    random = np.random.default_rng(0)
    picture, *patches = (smooth(random, *shape) for shape in (PICTURE, *[(height, width)] * CHUNK))
    frames = np.stack(patches)
    top, left = (PICTURE[0] - height) // 3, (PICTURE[1] - width) // 3
    rectangle = SeamlessRectangle(picture, top, left, height, width)
    border = CalmBorder(picture[top : top + height, left : left + width])
    centre = (2 * left + width) // 2, (2 * top + height) // 2

    calmed = frames.copy()
    border.calm(calmed)
    canvas, chunk = picture.copy(), calmed.copy()

    def ours() -> Bytes:
        rectangle.blend(chunk)
        for blended in chunk:
            canvas[top : top + height, left : left + width] = blended
        return canvas

    def theirs() -> Bytes:
        mask = np.full_like(calmed[-1], 255)
        return cv2.seamlessClone(calmed[-1], picture, mask, centre, cv2.NORMAL_CLONE)

    difference = np.abs(ours().astype(int) - theirs()).max()
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "calm_border": [], "seamless_clone": []}
    for _ in range(turns):
        np.copyto(chunk, calmed)  # blending works in place
        times["ours"].append(seconds(ours, CHUNK))
        np.copyto(chunk, frames)
        times["calm_border"].append(seconds(lambda: border.calm(chunk), CHUNK))
        times["seamless_clone"].append(seconds(theirs, 1))
    result: dict[str, object] = {"rectangle": f"{width} x {height}", "largest_difference_grey_levels": int(difference)}
    for i, clock in enumerate(("wall", "cpu")):
        medians = {what: statistics.median(t[i] for t in taken) for what, taken in times.items()}
        result[clock] = {**medians, "times_faster": round(medians["seamless_clone"] / medians["ours"], 1)}
    return result


def seconds(work: Callable[[], object], frames: int) -> tuple[float, float]:
    """Measure wall and CPU seconds per frame."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) / frames, (time.process_time() - cpu) / frames


def smooth(random: np.random.Generator, height: int, width: int) -> Bytes:
    """Return a picture without an edge, of all colours."""
    coarse = random.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


if __name__ == "__main__":
    main()

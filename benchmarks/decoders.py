"""Measures the cost of decoding in separate processes: the same work in this process and in others, in turns.

    python benchmarks/decoders.py [--rounds N]

"Here" are the plain functions in this process, as a server without isolation would call them; "there" are the same
functions behind `Decoders`. Prints a table and writes benchmarks/results/decoders.json. Times are medians over the
rounds; memory is what the processes have to themselves (USS) before they have worked.
"""

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import psutil
from hardware import describe
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.media import audio, video
from sadtalker_runtime.media.decoders import Decoders
from sadtalker_runtime.portrait import picture

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "decoders.json"
AAC_BLOCK = 1024


def driving_video(frames: int = 50) -> bytes:
    """Return noise that moves, 1280 x 720."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 160 + frames, 3), np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as muxer:
        stream = muxer.add_stream("libx264", rate=25)
        stream.width, stream.height = 1280, 720
        for index in range(frames):
            shown = np.repeat(np.repeat(noise[:, index : index + 160], 8, 0), 8, 1)
            muxer.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        muxer.mux(stream.encode(None))
    return file.getvalue()


def read_track(track: audio.Track, samples: int) -> None:
    """Read a sound as the muxer does."""
    for _ in range(0, samples, AAC_BLOCK):
        track.read(AAC_BLOCK)
    track.close()


def count(pictures: Iterator[Array]) -> int:
    """Exhaust an iterator."""
    return sum(1 for _ in pictures)


def cases(decoders: Decoders) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Return the work by name: here, and there."""
    speech, portrait = (ROOT / "examples" / name for name in ("speech.wav", "portrait.jpg"))
    recording, image, driving = speech.read_bytes(), portrait.read_bytes(), driving_video()
    sound = audio.decode(recording, 600).sound
    samples = 3 * audio.TRACK_RATE

    def track_here() -> audio.Track:
        return audio.Track(sound, audio.track_blocks(recording, sound.channels))

    return {
        "speech, for the networks": (lambda: audio.decode(recording, 600), lambda: decoders.speech(recording, 600)),
        "portrait": (lambda: picture.decode(image), lambda: decoders.picture(image)),
        "first block of the sound": (
            lambda: read_track(track_here(), AAC_BLOCK),
            lambda: read_track(decoders.track(sound), AAC_BLOCK),
        ),
        "3 s of the sound": (
            lambda: read_track(track_here(), samples),
            lambda: read_track(decoders.track(sound), samples),
        ),
        "2 s of a driving video, 1280 x 720": (
            lambda: count(video.inspect("driving", driving, 600).pictures()),
            lambda: count(decoders.video("driving", driving, 600).pictures()),
        ),
    }


def timed(work: Callable[[], object]) -> float:
    """Return how long it takes, seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(rounds: int) -> dict[str, object]:
    """Run every case here and there, in turns."""
    start = time.perf_counter()
    decoders = Decoders(spare=2)
    ready = time.perf_counter() - start
    waiting = [child.memory_full_info().uss for child in psutil.Process().children(recursive=True)]
    times: dict[str, dict[str, float]] = {}
    for name, (here, there) in cases(decoders).items():
        pairs = [(timed(here), timed(there)) for _ in range(rounds + 1)][1:]
        inside, outside = (statistics.median(values) for values in zip(*pairs, strict=True))
        times[name] = {
            "here_ms": round(1000 * inside, 2),
            "there_ms": round(1000 * outside, 2),
            "added_ms": round(1000 * (outside - inside), 2),
            "ratio": round(outside / inside, 3),
        }
    decoders.close()
    return {
        "ready_ms": round(1000 * ready),
        "processes": len(waiting),
        "private_mb": round(sum(waiting) / 1e6, 1),
        "cases": times,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="turns of every case (20)")
    result = describe() | measure(parser.parse_args().rounds)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(
        json.dumps({key: result[key] for key in ("ready_ms", "processes", "private_mb", "cases")}, indent=1)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

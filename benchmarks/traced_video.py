"""Traces one video: `python benchmarks/traced_video.py`: its spans as a picture, its line of the log.

The example portrait and the beginning of the example speech, through a fresh server that traces every request. Writes
docs/images/trace.svg and, in both formats of the log, the line into docs/operating.md.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
from hardware import describe
from perf_analyzer.inputs import cut_speech
from rich.console import Console
from sadtalker_client import SadTalkerClient
from sadtalker_runtime.triton.video_record import formatted
from sadtalker_server import Server
from trace_collector import CLIENT, SERVER, Collector, Span, environment, trace_arguments

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs" / "images"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "trace"}  # letters stay text, ids the same every time
INDENT = 4 * "\N{NO-BREAK SPACE}"  # others collapse in SVG
COLORS = {CLIENT: "#9dc3e0", SERVER: "#1b4f79"}
LABELS = {CLIENT: "call, with its wait in the queue", SERVER: "execution"}
GUIDE = ROOT / "docs" / "operating.md"
BEGIN, END = "<!-- log line: written by `make trace` -->\n", "<!-- log line ends -->\n"
SECONDS = 2.0  # of speech
PATIENCE = 60  # seconds until the spans of a finished video are there


def video_spans(spans: list[Span]) -> list[Span]:
    """Return the spans of the video, once its request has ended; empty before."""
    [trace] = {span.trace for span in spans if span.name == "sadtalker"} or [""]
    ended = any(span.trace == trace and span.name == "InferRequest" for span in spans)
    return [span for span in spans if ended and span.trace == trace]


def in_order(spans: list[Span]) -> list[tuple[int, Span]]:
    """Return the spans of a trace, each with its depth, a parent before its children, siblings by their start."""
    rows: list[tuple[int, Span]] = []

    def add(parent: str, depth: int) -> None:
        for span in sorted((s for s in spans if s.parent == parent), key=lambda s: s.start):
            rows.append((depth, span))
            add(span.id, depth + 1)

    add("", 0)
    return rows


def draw(spans: list[Span], machine: dict[str, object], path: Path) -> None:
    """Draw a trace as a waterfall: one row a span, seconds to the right."""
    rows = in_order(spans)
    begin, length = rows[0][1].start, rows[0][1].end - rows[0][1].start  # of the request
    plt.rcParams |= STYLE
    figure, axis = plt.subplots(figsize=(10, 0.8 + 0.19 * len(rows)))
    for row, (_, span) in enumerate(rows):
        axis.barh(
            row,
            max(span.end - span.start, length / 500) / 1e9,
            left=(span.start - begin) / 1e9,
            color=COLORS[span.kind],
        )
    axis.set_yticks(range(len(rows)), [INDENT * depth + span.name for depth, span in rows], fontsize=7)
    for label in axis.get_yticklabels():
        label.set_horizontalalignment("left")
    axis.tick_params(axis="y", pad=150, length=0)
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.set_xlabel("seconds")
    axis.set_title(f"{machine['cores']} cores of {machine['cpu']}, load before {machine['load_before']}", fontsize=8)
    axis.grid(axis="x", alpha=0.3)
    axis.legend([plt.Rectangle((0, 0), 1, 1, color=COLORS[kind]) for kind in LABELS], list(LABELS.values()))
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def traced(repository: Path) -> tuple[list[Span], dict[str, object]]:
    """Make a video and return its spans and its line of the log."""
    collector = Collector()
    os.environ |= environment(collector)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        arguments = trace_arguments(collector)
        with (
            Server(repository, tritonserver="embedded", log_file=log, extra_arguments=arguments) as server,
            SadTalkerClient(server.grpc_url, timeout=600) as client,
        ):
            client.animate(EXAMPLES / "portrait.jpg", cut_speech(EXAMPLES / "speech.wav", SECONDS)).read()
            deadline = time.monotonic() + PATIENCE
            while not video_spans(collector.spans):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no trace of the video within {PATIENCE} s")
                time.sleep(0.5)
        collector.stop()  # after the server, whose models send their last spans when they stop
        [line] = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"event": "video"')]
    return video_spans(collector.spans), line


def quote(line: dict[str, object], guide: Path) -> None:
    """Put the line, as JSON and as text, between its two marks in a Markdown file."""
    before, begin, rest = guide.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{guide}: expected the marks {BEGIN!r} and {END!r}")
    blocks = "".join(f"```\n{formatted(line, how)}\n```\n" for how in ("json", "text"))
    guide.write_text(f"{before}{begin}{blocks}{end}{after}")


def main() -> int:
    """Trace, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository", help="with exported networks")
    machine = describe()["hardware"]
    assert isinstance(machine, dict)
    spans, line = traced(parser.parse_args().repository)
    IMAGES.mkdir(exist_ok=True)
    draw(spans, machine, IMAGES / "trace.svg")
    quote(line, GUIDE)
    Console().print_json(data=line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One picture of a session: six plots, each of which answers one question."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from .scenarios import SCENARIOS

VIDEO_RATE = 25  # frames per second: above it, a video is made faster than it plays
COLOURS = dict(zip(SCENARIOS, matplotlib.colormaps["tab20"].colors, strict=False))
QUEUE, COMPUTE = "#f2b36b", "#4878a8"
GREY = "#666666"
STYLE = {
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fontsize": 8.5,
}
Levels = list[dict[str, Any]]


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the result of a session, as the JSON file has it."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(18, 10.5), layout="constrained")
        panels = figure.subplots(2, 3)
        sweeps = dict(_by_model(result, "sweep"))
        _throughput(panels[0, 0], sweeps)
        _split(panels[0, 1], sweeps or dict(_by_model(result, "smoke")))
        _frames(panels[0, 2], sweeps)
        _first_fragment(panels[1, 0], result)
        _batches(panels[1, 1], sweeps)
        _poisson(panels[1, 2], result)
        for axes in panels.flat:
            if not axes.has_data():
                axes.text(0.5, 0.5, "not measured in this session", transform=axes.transAxes, ha="center", color=GREY)
                axes.set(xticks=[], yticks=[])
        figure.suptitle(f"{result['preset']} networks on {result['hardware_name']}", fontsize=15, fontweight="bold")
        versions = result["versions"]
        figure.supxlabel(
            f"perf_analyzer {result['perf_analyzer']}, tritonserver {result['tritonserver']}, "
            f"onnxruntime-openvino {versions['onnxruntime-openvino']}; commit {result['commit']}, {result['date']}; "
            f"load of the machine before: {result['hardware']['load_before']}; {result['what']}",
            fontsize=8.5,
            color=GREY,
        )
        figure.savefig(path, dpi=110)


def _by_model(result: dict[str, Any], kind: str) -> Iterator[tuple[str, Levels]]:
    for model in SCENARIOS:
        if levels := [level for level in result["levels"] if (level["model"], level["kind"]) == (model, kind)]:
            yield model, levels


def _throughput(axes: Axes, sweeps: dict[str, Levels]) -> None:
    """Plot latency over throughput: a line that rises straight up is a saturated model."""
    axes.set_title("Throughput against latency")
    axes.set(xlabel="requests per second", ylabel="latency, ms: p50, bars up to p90")
    for model, levels in sweeps.items():
        points = [level for level in levels if "per_second" in level]
        x = [level["per_second"] for level in points]
        low, high = ([level["latency_ms"][name] for level in points] for name in ("p50", "p90"))
        bars = np.stack([np.zeros(len(points)), np.maximum(0, np.subtract(high, low))])
        n = sorted({level["latency_ms"]["n"] for level in points})
        label = f"{model} (n = {n[0]}{f' to {n[-1]}' if len(n) > 1 else ''})" if n else model
        axes.errorbar(x, low, bars, marker="o", ms=5, lw=1.4, capsize=2.5, color=COLOURS[model], label=label)
        for level, at in zip(points, zip(x, low, strict=True), strict=True):
            axes.annotate(level["concurrency"], at, (6, -9), textcoords="offset points", fontsize=8, color=GREY)
    if sweeps:
        axes.set(xscale="log", yscale="log")
        axes.set_ylim(bottom=axes.get_ylim()[0] / 60)  # room for the legend
        axes.legend(loc="lower left", ncols=2, title="numbers at the points: clients", title_fontsize=8.5)


def _split(axes: Axes, levels_of: dict[str, Levels]) -> None:
    """Plot the parts of a request's time in the queue and in computation; for ensembles, of the slowest network."""
    axes.set_title("Waiting and working")
    axes.set(xlabel="% of a request's time in the network, mean")
    names = []
    for i, (model, levels) in enumerate(levels_of.items()):
        level = levels[-1]
        network = model if len(level["models"]) == 1 else "face_renderer"
        use = level["models"][network]
        share = 100 * use["queue_ms"] / (use["queue_ms"] + use["compute_ms"])
        axes.barh(i, share, color=QUEUE, label=None if i else "in the queue")
        axes.barh(i, 100 - share, left=share, color=COMPUTE, label=None if i else "computation")
        if share > 18:  # wide enough for the text
            axes.text(1, i, _time(use["queue_ms"]), va="center", fontsize=9)
        axes.text(99, i, _time(use["compute_ms"]), va="center", ha="right", fontsize=9, color="white")
        where = "" if network == model else f"in {model}, "
        names.append(f"{network}\n{where}{_clients(level)}, n = {use['requests']}")
    if names:
        axes.set_yticks(range(len(names)), names, fontsize=8.5)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlim(0, 100)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.985), ncols=2)


def _frames(axes: Axes, sweeps: dict[str, Levels]) -> None:
    """Plot the frames per second of all clients together, against the rate at which a video plays."""
    axes.set_title("Video frames per second")
    axes.set(xlabel="clients", ylabel="frames per second, of all clients together")
    rendering = {
        model: frames
        for model, levels in sweeps.items()
        if (frames := {x["concurrency"]: x["frames_per_second"] for x in levels if "frames_per_second" in x})
    }
    clients = sorted({count for frames in rendering.values() for count in frames})
    width = 0.8 / max(1, len(rendering))
    for i, (model, frames) in enumerate(rendering.items()):
        x = [clients.index(count) + (i - (len(rendering) - 1) / 2) * width for count in frames]
        bars = axes.bar(x, list(frames.values()), 0.92 * width, color=COLOURS[model], label=model)
        axes.bar_label(bars, fmt="{:.3g}", fontsize=8.5, padding=2)
    if rendering:
        axes.axhline(VIDEO_RATE, color=GREY, lw=1.2, ls="--", label=f"{VIDEO_RATE}: as fast as it plays")
        axes.set_xticks(range(len(clients)), map(str, clients))
        axes.set_ylim(0, 1.3 * max(VIDEO_RATE, *(max(frames.values()) for frames in rendering.values())))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper left", ncols=2)


def _first_fragment(axes: Axes, result: dict[str, Any]) -> None:
    """Time until a viewer sees something, from the profile exports: the share of videos that had begun by then."""
    axes.set_title("sadtalker: time to the first fragment")
    axes.set(xlabel="seconds since the request", ylabel="% of videos that have begun")
    levels = [level for level in result["levels"] if "first_fragment_ms" in level and level["kind"] != "poisson"]
    sweep = [level for level in levels if level["kind"] == "sweep"] or levels
    shades = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.8, len(sweep)))
    for level, shade in zip(sweep, shades, strict=True):
        times = np.array(level["first_fragment_ms"]["all"]) / 1000
        median = level["first_fragment_ms"]["p50"] / 1000
        label = f"{_clients(level)}: median {median:.2f} s, n = {len(times)}"
        axes.ecdf(times, color=shade, lw=2, label=label)
        axes.lines[-1].set_ydata(100 * axes.lines[-1].get_ydata())
    if sweep:
        axes.relim()
        axes.set(ylim=(0, 135), yticks=range(0, 101, 20), xlim=(0, None))
        axes.legend(loc="upper left")


def _batches(axes: Axes, sweeps: dict[str, Levels]) -> None:
    """Plot how many chunks the dynamic batcher put into one execution of the renderer."""
    axes.set_title("face_renderer: batches formed")
    axes.set(ylabel="% of executions", xlabel="clients, and the model they ask")
    bars, names, x = [], [], 0.0
    for model, levels in sweeps.items():
        using = [level for level in levels if "face_renderer" in level["models"]]
        for i, level in enumerate(using):
            bars.append((x, level["models"]["face_renderer"]))
            names.append(f"{level['concurrency']}" + (f"\n{model}" if i == len(using) // 2 else ""))
            x += 1
        x += 0.5 if using else 0
    sizes = sorted({int(size) for _, use in bars for size in use["batches"]})
    shades = matplotlib.colormaps["Blues"](np.linspace(0.3, 0.95, len(sizes)))
    bottom = np.zeros(len(bars))
    for size, shade in zip(sizes, shades, strict=True):
        share = [100 * use["batches"].get(str(size), 0) / sum(use["batches"].values()) for _, use in bars]
        axes.bar([x for x, _ in bars], share, 0.8, bottom, color=shade, label=f"{size} chunk{'s' if size > 1 else ''}")
        bottom += share
    for at, use in bars:
        text = f"mean\n{use['mean_batch']:.2f}\nn = {use['executions']}"
        axes.text(at, 102, text, ha="center", va="bottom", fontsize=8)
    if bars:
        axes.set_xticks([x for x, _ in bars], names)
        axes.set(ylim=(0, 142), yticks=range(0, 101, 20))
        axes.grid(axis="x", visible=False)
        axes.legend(loc="upper center", ncols=len(sizes), title="in one execution", title_fontsize=8.5)


def _poisson(axes: Axes, result: dict[str, Any]) -> None:
    """Plot latency under random arrivals; the last rate within its limit is what may be promised."""
    axes.set_title("Open loop: highest rate within a latency limit")
    axes.set(
        xlabel="requests per second, at random instants (Poisson)", ylabel="latency p90, as a multiple of the limit"
    )
    for model, levels in _by_model(result, "poisson"):
        found = result["poisson"].get(model)
        if found is None:  # the session ended during its search
            continue
        runs = sorted((x["rate"], x["latency_ms"]["p90"] / found["limit_ms"], x["latency_ms"]["n"]) for x in levels)
        best = found["highest_rate"]
        verdict = "none of these rates" if best is None else f"{best:.3g}/s"
        label = f"{model}: {verdict} within {_time(found['limit_ms'])}"
        axes.plot([run[0] for run in runs], [run[1] for run in runs], marker="o", color=COLOURS[model], label=label)
        for rate, times_limit, n in runs:
            at = (rate, times_limit)
            axes.annotate(f"n = {n}", at, (9, -3), textcoords="offset points", fontsize=8, color=GREY)
            if rate == best:
                axes.plot(*at, marker="o", ms=13, mfc="none", mec=COLOURS[model], mew=2)
    if axes.lines:
        axes.axhline(1, color="#c03030", lw=1.2, ls="--", label="the limit")
        axes.margins(x=0.15)
        rates = [level["rate"] for level in result["levels"] if level["kind"] == "poisson"]
        if max(rates) > 5 * min(rates):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_ylim(0, 1.3 * max(1.2, axes.get_ylim()[1]))
        axes.legend(loc="upper left")


def _clients(level: dict[str, Any]) -> str:
    return f"{level['concurrency']} client{'s' if level['concurrency'] > 1 else ''}"


def _time(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.3g} s" if milliseconds >= 1000 else f"{milliseconds:.3g} ms"

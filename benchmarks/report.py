"""The picture and the README table of a benchmark's results."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

LABELS = {"reference": "original algorithm\n(PyTorch, fp32)", "fp32": "this server\nfp32", "bf16": "this server\nbf16"}


def plot(result: dict, path: Path) -> None:
    """Plot seconds per frame end to end, and where they go."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(1, 1.3))
    runs = result["end_to_end"]
    names = list(runs)
    per_frame = [1 / runs[name]["frames_per_second"] for name in names]
    bars = left.bar([LABELS[n] for n in names], per_frame, color=["#999999", "#2a78b5", "#1b4f79"][: len(names)])
    speed = [f"{s:.2f} s\n{runs[n]['times_reference']:.2f} x" for n, s in zip(names, per_frame, strict=True)]
    left.bar_label(bars, speed)
    left.set(ylabel="seconds per frame, end to end", ylim=(0, 1.25 * max(per_frame)))
    for i, name in enumerate(names):
        bottom = 0.0
        stages = runs[name]["stage_seconds"]
        total = sum(stages.values())
        for stage, seconds in sorted(stages.items(), key=lambda item: -item[1]):
            share = 100 * seconds / total
            right.barh(i, share, left=bottom, color=plt.cm.tab20(hash_color(stage)), edgecolor="white")
            if share > 7:
                right.text(bottom + share / 2, i, f"{stage}\n{seconds:.1f} s", ha="center", va="center", fontsize=8)
            bottom += share
    right.set(yticks=range(len(names)), yticklabels=[LABELS[n] for n in names])
    right.set_xlabel("% of the time in stages or networks")
    right.invert_yaxis()
    hardware = result["hardware"]
    figure.suptitle(f"{result['preset']} networks, {hardware['cores']} cores of {hardware['cpu']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


COLORS = {"fp32": "#2a78b5", "tf32": "#777777", "fp16": "#1b4f79"}


def plot_gpu(result: dict, path: Path) -> None:
    """Plot the results of `bench_gpu.py`: time, frames per second and part of the ceiling, over the batch."""
    panels = {"ms_per_frame": "ms per frame", "frames_per_second": "frames per second", "ceiling_fraction": "%"}
    figure, axes = plt.subplots(1, 3, figsize=(12, 4.2))
    batches = sorted({run["frames"] for run in result["ours"]})
    for axis, (key, label) in zip(axes, panels.items(), strict=True):
        scale = 100 if key == "ceiling_fraction" else 1
        for precision in dict.fromkeys(run["precision"] for run in result["ours"]):
            runs = [run for run in result["ours"] if run["precision"] == precision]
            values = [scale * run[key] for run in runs]
            axis.plot(
                [run["frames"] for run in runs], values, "o-", color=COLORS[precision], label=f"ours, {precision}"
            )
        for precision, run in result["original"].items():
            style = {"color": COLORS[precision], "linestyle": "--", "alpha": 0.6}
            axis.axhline(scale * run[key], label=f"original, {precision}, 2 frames", **style)
        axis.set(xlabel="frames at a time", xticks=batches, ylabel=label, ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[2].set_title("of the measured matrix products, same precision", fontsize=9)
    axes[0].legend(fontsize=8)
    name = result["gpu"]["name"] if result["gpu"] else result["hardware"]["cpu"]
    figure.suptitle(f"{result['preset']} networks, {name}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def hash_color(name: str) -> int:
    """Return the same colour for the same stage in every plot."""
    return sum(map(ord, name)) % 20


def write_tables(results: Path, readme: Path, root: Path) -> None:
    """Replace the tables in the README: one for each processor on which the official sizes were measured."""
    sources = sorted(results.glob("bench_official*.json"))
    texts = [table(json.loads(source.read_text()), source.relative_to(root)) for source in sources]
    write_between(readme, "bench", "\n\n".join(texts))


def write_between(path: Path, mark: str, text: str) -> None:
    """Replace what stands between `<!-- mark -->` and `<!-- /mark -->` in a Markdown file."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    content = path.read_text()
    if begin not in content or end not in content:
        raise ValueError(f"{path}: expected the marks {begin} and {end}")
    before, after = content.split(begin)[0], content.split(end)[1]
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def table(result: dict, source: Path) -> str:
    """Return Markdown: one row per way to make the video."""
    rows = ["| | seconds per frame | frames/s | against the original |", "|---|---|---|---|"]
    for name, run in result["end_to_end"].items():
        label, speed, per_second = LABELS[name].replace("\n", " "), run["times_reference"], run["frames_per_second"]
        rows.append(f"| {label} | {1 / per_second:.2f} | {per_second:.2f} | {speed:.2f} x |")
    hardware = result["hardware"]
    rows += ["", f"{result['what']}; {hardware['cores']} cores of {hardware['cpu']}; from `{source}`."]
    first, kept = result["serving"]["first_fragment_seconds"], result["serving"]["triton_over_bare"]["throughput_ratio"]
    rows += [
        "",
        f"The first fragment does not wait for the rest: {first['2_s']:.2f} s with a recording of 2 s, "
        f"{first['60_s']:.2f} s with one of 60 s;",
        f"{first['its_networks']:.2f} s of that is network time for encoding a new face and rendering the first chunk "
        f"({result['serving']['variant']}). Triton and gRPC keep {min(kept, 1):.0%} of",
        "the throughput that the renderer has alone.",
    ]
    return "\n".join(rows)

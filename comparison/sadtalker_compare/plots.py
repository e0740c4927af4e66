"""Draws the pictures of a report, each as a PNG in a data URI."""

import base64
import io
from collections.abc import Mapping

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from sadtalker_compare.criteria import GROUPS
from sadtalker_compare.measurement import Measurement
from sadtalker_compare.ranking import Ranking

HEIGHT = 112  # pixels of a frame in a contact sheet


def weights(ranking: Ranking) -> str:
    """Draw the weight of every criterion that was used."""
    figure, axis = plt.subplots(figsize=(7.5, 0.28 * len(ranking.criteria) + 0.8))
    colors = [f"C{GROUPS.index(c.group)}" for c in ranking.criteria]
    axis.barh([c.name for c in ranking.criteria], [ranking.weights[c.name] for c in ranking.criteria], color=colors)
    for number, group in enumerate(GROUPS):
        axis.barh([ranking.criteria[0].name], [0], color=f"C{number}", label=group)
    axis.set(xlabel="weight")
    axis.invert_yaxis()
    axis.legend(fontsize=8, loc="lower right")
    return _png(figure)


def scores(ranking: Ranking) -> str:
    """Draw both methods' scores, the best candidate on top."""
    order = ranking.order
    names = [ranking.candidates[index] for index in order]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 0.4 * len(names) + 1), sharey=True)
    left.barh(names, ranking.topsis[order], color="C0")
    left.set(xlabel="TOPSIS, more is better", xlim=(0, 1))
    right.barh(names, ranking.vikor[order], color="C1")
    right.set(xlabel="VIKOR, less is better", xlim=(0, 1.02))
    left.invert_yaxis()
    return _png(figure)


def firmness(ranking: Ranking) -> str:
    """Draw how often each candidate takes each rank when the weights vary."""
    order = ranking.order
    names = [ranking.candidates[index] for index in order]
    figure, axis = plt.subplots(figsize=(7.5, 0.4 * len(names) + 1))
    left = np.zeros(len(names))
    shades = plt.get_cmap("viridis")(np.linspace(0.85, 0.1, len(names)))
    for place in range(len(names)):
        share = ranking.shares[order, place]
        axis.barh(names, share, left=left, color=shades[place], label=f"rank {place + 1}")
        left += share
    axis.set(xlabel="share of random weights around the given ones", xlim=(0, 1))
    axis.invert_yaxis()
    axis.legend(fontsize=8, ncols=min(len(names), 6), loc="upper center", bbox_to_anchor=(0.5, -0.25))
    return _png(figure)


def group_sensitivity(ranking: Ranking) -> str:
    """Draw the TOPSIS scores over the weight of each group."""
    groups = [group for group in GROUPS if group in ranking.group_scores]
    figure, axes = plt.subplots(1, len(groups), figsize=(3.1 * len(groups), 2.9), sharey=True, squeeze=False)
    for axis, group in zip(axes[0], groups, strict=True):
        for index, name in enumerate(ranking.candidates):
            axis.plot(ranking.group_weights, ranking.group_scores[group][:, index], label=name, color=f"C{index}")
        given = sum(ranking.weights[c.name] for c in ranking.criteria if c.group == group)
        axis.axvline(given, color="grey", linestyle=":")
        axis.set(title=group, xlabel="weight of the group", ylim=(0, 1))
    axes[0][0].set_ylabel("TOPSIS")
    axes[0][-1].legend(fontsize=7)
    return _png(figure)


def contact_sheet(measurements: Mapping[str, Measurement], clip: str) -> str:
    """Lay out frames of one clip: a row for every candidate, time from left to right."""
    rows = []
    for measurement in measurements.values():
        frames = [Image.fromarray(frame) for frame in measurement.frames[clip]]
        frames = [frame.resize((round(frame.width * HEIGHT / frame.height), HEIGHT)) for frame in frames]
        rows.append(np.concatenate([np.asarray(frame) for frame in frames], 1))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(padded)).save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def mouths(measurements: Mapping[str, Measurement], clip: str) -> str:
    """Draw the mouth's opening of every candidate over the loudness of the speech."""
    shown = {name: m.openings[clip] for name, m in measurements.items() if clip in m.openings}
    figure, axes = plt.subplots(len(shown), 1, figsize=(8.5, 1.1 * len(shown) + 0.6), sharex=True, squeeze=False)
    for axis, (name, (opening, level, rate)) in zip(axes[:, 0], shown.items(), strict=True):
        axis.fill_between(np.arange(len(level)) / rate, level / max(level.max(), 1e-9), color="0.85")
        low, high = np.percentile(opening, [5, 99])
        axis.plot(np.arange(len(opening)) / rate, (opening - low) / max(high - low, 1e-9), color="C3", linewidth=1)
        axis.set(ylim=(-0.1, 1.2), yticks=[])
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    axes[-1, 0].set_xlabel("s (grey: loudness, red: mouth opening, each scaled to its own range)")
    return _png(figure)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

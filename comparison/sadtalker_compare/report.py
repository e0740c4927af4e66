"""Writes a comparison as JSON and as one HTML page that needs no other file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sadtalker_compare import plots
from sadtalker_compare.criteria import CRITERIA, GROUPS
from sadtalker_compare.measurement import Measurement
from sadtalker_compare.ranking import DRAWS, Ranking
from sadtalker_compare.weighting import Weights


def write_report(
    folder: Path,
    measurements: Mapping[str, Measurement],
    weights: Weights,
    ranking: Ranking,
    machine: Mapping[str, Any],
) -> Path:
    """Write `comparison.json` and `comparison.html` to a folder, and return the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(
        json.dumps(_figures(measurements, weights, ranking, machine), indent=1) + "\n"
    )
    environment = Environment(
        loader=PackageLoader("sadtalker_compare", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=False
    )
    page = folder / "comparison.html"
    page.write_text(environment.get_template("report.html").render(_page(measurements, weights, ranking, machine)))
    return page


def _figures(
    measurements: Mapping[str, Measurement], weights: Weights, ranking: Ranking, machine: Mapping[str, Any]
) -> dict[str, Any]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else float(f"{value:.5g}")

    return {
        **machine,
        "order": [ranking.candidates[index] for index in ranking.order],
        "topsis": dict(zip(ranking.candidates, map(rounded, ranking.topsis), strict=True)),
        "vikor": dict(zip(ranking.candidates, map(rounded, ranking.vikor), strict=True)),
        "first_share": dict(zip(ranking.candidates, map(rounded, ranking.shares[:, 0]), strict=True)),
        "values": {name: {k: rounded(v) for k, v in m.values.items()} for name, m in measurements.items()},
        "weights": {name: rounded(value) for name, value in ranking.weights.items()},
        "left_out": dict(ranking.left_out),
        "consistency_ratios": {name: rounded(value) for name, value in weights.consistency.items()},
        "remarks": [remark for m in measurements.values() for remark in m.remarks],
    }


def _page(
    measurements: Mapping[str, Measurement], weights: Weights, ranking: Ranking, machine: Mapping[str, Any]
) -> dict[str, Any]:
    order = ranking.order
    names = list(ranking.candidates)
    first = order[0]
    vikor_first = int(ranking.vikor.argmin())
    clips = list(next(iter(measurements.values())).frames)
    return {
        "machine": machine,
        "draws": DRAWS,
        "names": names,
        "order": [names[index] for index in order],
        "agree": ranking.vikor[first] == ranking.vikor.min(),
        "vikor_first": names[vikor_first],
        "first_share": ranking.shares[first, 0],
        "ranks": [
            {"name": names[i], "topsis": ranking.topsis[i], "vikor": ranking.vikor[i], "first": ranking.shares[i, 0]}
            for i in order
        ],
        "groups": [{"name": group, "rows": _rows(group, measurements, ranking)} for group in GROUPS],
        "remarks": [remark for m in measurements.values() for remark in m.remarks]
        + [f"{name} does not count: {why}." for name, why in ranking.left_out.items()],
        "clips": [
            {
                "name": clip,
                "sheet": plots.contact_sheet(measurements, clip),
                "mouths": plots.mouths(measurements, clip)
                if any(clip in m.openings for m in measurements.values())
                else "",
            }
            for clip in clips
        ],
        "consistency": weights.consistency,
        "plots": {
            "scores": plots.scores(ranking),
            "weights": plots.weights(ranking),
            "firmness": plots.firmness(ranking),
            "groups": plots.group_sensitivity(ranking) if ranking.group_scores else "",
        },
    }


def _rows(group: str, measurements: Mapping[str, Measurement], ranking: Ranking) -> list[dict[str, Any]]:
    rows = []
    for criterion in (c for c in CRITERIA if c.group == group):
        values = [m.values[criterion.name] for m in measurements.values()]
        known = [value for value in values if value is not None]
        best = (max(known) if criterion.more_is_better else min(known)) if known else None
        weight = ranking.weights.get(criterion.name)
        rows.append(
            {
                "name": criterion.name.replace("_", " "),
                "unit": criterion.unit,
                "meaning": criterion.meaning,
                "more": criterion.more_is_better,
                "weight": "" if weight is None else f"{weight:.3f}",
                "cells": [
                    {
                        "text": "–" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}",
                        "best": weight is not None and value == best,
                    }
                    for value in values
                ],
            }
        )
    return rows

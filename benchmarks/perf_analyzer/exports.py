"""Reads what perf_analyzer writes: the CSV report and the profile export of one run at one level of load."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PERCENTILES = ("p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Request:
    """Seconds since the start of the run at which a request was sent and its responses came, the last of them last."""

    sent: float
    responses: list[float]


def read_latency(path: Path) -> dict[str, float]:
    """Return milliseconds until the last response: `mean`, and the percentiles that PERCENTILES names."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if len(rows) != 1:
        raise ValueError(f"{path}: expected one level of load, got {len(rows)}")
    columns = {"mean": "Avg latency", **{name: f"{name} latency" for name in PERCENTILES}}
    return {name: float(rows[0][column]) / 1000 for name, column in columns.items()}


def read_profile(path: Path) -> list[Request]:
    """Return the requests that were answered, in the order of sending."""
    experiments = _load(path)["experiments"]
    if len(experiments) != 1:
        raise ValueError(f"{path}: expected one level of load, got {len(experiments)}")
    answered = [request for request in experiments[0]["requests"] if request["response_timestamps"]]
    start = min((request["timestamp"] for request in answered), default=0)
    requests = [
        Request((request["timestamp"] - start) / 1e9, [(t - start) / 1e9 for t in request["response_timestamps"]])
        for request in answered
    ]
    return sorted(requests, key=lambda request: request.sent)


def strip_tensors(path: Path) -> None:
    """Leave only the times in a profile export: it repeats every tensor, which is portraits and videos here."""
    profile = _load(path)
    for experiment in profile["experiments"]:
        for request in experiment["requests"]:
            for tensors in ("request_inputs", "response_outputs"):
                request.pop(tensors, None)
    path.write_text(json.dumps(profile))


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="latin-1"))  # the bytes of BYTES tensors stand in it as they are

"""A whole session: the scenarios one after the other, each from gentle to hard, as the parts of one result."""

import statistics
from collections.abc import Callable
from dataclasses import asdict

from .load import Bench, Level, OutOfTimeError
from .poisson import LIMITED_PERCENTILE, search
from .scenarios import LATENCY_LIMIT, POISSON_SECONDS, SMOKE_REQUESTS, SWEEP_SECONDS, Scenario

Record = Callable[[Level], None]


def measure(
    bench: Bench, scenarios: list[Scenario], kinds: tuple[str, ...], speech_frames: int, show: Record
) -> dict[str, object]:
    """Run scenarios in the given `kinds`. `speech_frames`: length of a video; `show` gets every run as it ends.

    Returns `levels` (one entry per run), `poisson` (what each search found), the models that are `not_served`, and
    whether the session is `complete` or ran out of time.
    """
    served = [scenario for scenario in scenarios if bench.serves(scenario.model)]
    levels: list[dict[str, object]] = []
    found: dict[str, dict[str, object]] = {}
    complete = True
    try:
        for scenario in served:
            frames = speech_frames if scenario.frames is None else scenario.frames

            def record(level: Level, frames: int = frames) -> None:
                levels.append(entry(level, frames))
                show(level)

            # All at once: the first batch of each size costs extra, and so does the first time of a portrait.
            bench.warm_up(scenario, scenario.concurrency[-1] if "sweep" in kinds else 1)
            alone_ms, capacity = _unloaded(bench, scenario, record)
            if "sweep" in kinds:
                capacity = _sweep(bench, scenario, capacity, record)
            if "poisson" in kinds and scenario.poisson:
                found[scenario.model] = _poisson(bench, scenario, LATENCY_LIMIT * alone_ms, capacity, record)
    except OutOfTimeError:
        complete = False
    return {
        "levels": levels,
        "poisson": found,
        "not_served": [scenario.model for scenario in scenarios if scenario not in served],
        "complete": complete,
    }


def entry(level: Level, frames: int) -> dict[str, object]:
    """Describe a run as it stands in the result; `frames` are those that one request yields."""
    result = asdict(level)
    result["latency_ms"] = {"n": level.requests, **level.latency_ms}
    if fragments := sorted(result.pop("first_fragment_ms")):
        median = statistics.median(fragments)
        result["first_fragment_ms"] = {"n": len(fragments), "p50": median, "max": fragments[-1], "all": fragments}
    if frames and level.per_second:
        result["frames_per_second"] = level.per_second * frames
    for use in result["models"].values():
        use["mean_batch"] = sum(size * count for size, count in use["batches"].items()) / use["executions"]
        use["batches"] = {str(size): count for size, count in use["batches"].items()}  # as JSON has it
    return {key: _rounded(value) for key, value in result.items() if value is not None}


def _unloaded(bench: Bench, scenario: Scenario, record: Record) -> tuple[float, float]:
    """Return the median latency of one request alone, in ms, and how many a second that makes."""
    level = bench.closed_loop(scenario, "smoke", 1, SMOKE_REQUESTS)
    record(level)
    return level.latency_ms["p50"], 1000 / level.latency_ms["p50"]


def _sweep(bench: Bench, scenario: Scenario, capacity: float, record: Record) -> float:
    """Return the highest throughput, in requests per second."""
    for concurrency in scenario.concurrency:
        requests = max(scenario.requests, round(SWEEP_SECONDS * capacity))
        level = bench.closed_loop(scenario, "sweep", concurrency, requests)
        record(level)
        capacity = max(capacity, level.per_second or 0)
    return capacity


def _poisson(bench: Bench, scenario: Scenario, limit_ms: float, capacity: float, record: Record) -> dict[str, object]:
    def probe(rate: float) -> Level:
        level = bench.open_loop(scenario, rate, max(scenario.requests, round(POISSON_SECONDS * rate)))
        record(level)
        return level

    best = search(capacity, limit_ms, probe)
    return {"percentile": LIMITED_PERCENTILE, "limit_ms": _rounded(limit_ms), "highest_rate": _rounded(best)}


def _rounded(value: object) -> object:
    """Round numbers to four significant digits, in any JSON value."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value

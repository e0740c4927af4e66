"""A whole comparison: every candidate makes its videos, which are measured, weighed and ranked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sadtalker_runtime.processor import describe_hardware
from sadtalker_runtime.version import VERSION

from sadtalker_compare.measurement import Measurement, measure
from sadtalker_compare.plan import Plan, read_plan
from sadtalker_compare.ranking import Ranking, rank
from sadtalker_compare.report import write_report
from sadtalker_compare.systems import produce
from sadtalker_compare.weighting import CONSISTENT, Weights, weigh

__all__ = ["CONSISTENT", "Comparison", "compare", "read_plan", "steps", "write"]


@dataclass(frozen=True)
class Comparison:
    """The outcome of a comparison."""

    measurements: Mapping[str, Measurement]
    weights: Weights
    ranking: Ranking
    machine: Mapping[str, Any]


def steps(plan: Plan) -> int:
    """Return how often `compare` calls `advance`."""
    made = {"videos": 0, "server": 2 * len(plan.clips), "repository": 2 * len(plan.clips) + 1}
    return sum(made[candidate.kind] + 1 for candidate in plan.candidates)


def compare(plan: Plan, folder: Path, seed: int, advance: Callable[[str], None]) -> Comparison:
    """Carry out a plan; videos are written to `folder`, `advance` is called at every step with a line about it.

    One candidate after the other runs, so that they do not share the machine.

    Raises:
        ComparisonError: a candidate cannot make a clip, judgements are incomplete, or nothing can be compared.
    """
    weights = weigh(plan.judgements)  # before the hours of work
    machine = {
        "hardware": describe_hardware(),
        "version": VERSION,
        "date": datetime.now(timezone.utc).date().isoformat(),
    }
    measurements = {}
    for candidate in plan.candidates:

        def say(text: str, name: str = candidate.name) -> None:
            advance(f"{name}: {text}")

        production = produce(candidate, plan.clips, folder / candidate.name, say)
        say("measuring")
        measurements[candidate.name] = measure(candidate, plan.clips, production)
    ranking = rank({name: m.values for name, m in measurements.items()}, weights.criteria, seed)
    return Comparison(measurements, weights, ranking, machine)


def write(folder: Path, comparison: Comparison) -> Path:
    """Write the report of a comparison, and return its page's path."""
    return write_report(folder, comparison.measurements, comparison.weights, comparison.ranking, comparison.machine)

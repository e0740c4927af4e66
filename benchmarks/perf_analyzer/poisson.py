"""The highest rate of random requests that a model answers within a latency limit."""

from collections.abc import Callable

from .load import Level
from .scenarios import POISSON_PROBES, POISSON_RANGE

LIMITED_PERCENTILE = "p90"


def search(capacity: float, limit_ms: float, probe: Callable[[float], Level]) -> float | None:
    """Halve the range of rates POISSON_PROBES times; returns the highest rate within the limit, None if none was.

    `capacity`: requests per second of a closed loop. `probe` runs one rate.
    """
    low, high = (share * capacity for share in POISSON_RANGE)
    best = None
    for _ in range(POISSON_PROBES):
        middle = (low + high) / 2
        if probe(middle).latency_ms[LIMITED_PERCENTILE] <= limit_ms:
            low = best = middle
        else:
            high = middle
    return best

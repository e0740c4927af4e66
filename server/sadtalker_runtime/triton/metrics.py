"""Metrics of videos on the server's metrics page, next to Triton's own counters."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import triton_python_backend_utils as pb_utils

from sadtalker_runtime.places import REASONS
from sadtalker_runtime.triton import video_record

STAGES = ("decoding", "portrait", "coefficients", "render", "encode")
OUTCOMES = ("finished", "refused", "cancelled", "stalled", "failed")
SECONDS = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
REAL_TIME_FACTORS = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0]


class Metrics:
    """Counters, gauges and histograms of one model instance; their names start with `sadtalker_`.

    Must not be changed in a model's `execute`: changes in two threads at once crash tritonserver 2.51.
    """

    def __init__(self) -> None:
        self._families: list[Any] = []  # Triton forgets the metrics of a family that is not kept
        counter, gauge, histogram = (
            partial(self._family, getattr(pb_utils.MetricFamily, kind)) for kind in ("COUNTER", "GAUGE", "HISTOGRAM")
        )
        lookups = counter("portrait_cache_lookups_total", "Portraits looked up in the cache")
        self._hits, self._misses = lookups.Metric({"result": "hit"}), lookups.Metric({"result": "miss"})
        self._in_flight = gauge("videos_in_flight", "Videos being made").Metric({})
        self._waiting = gauge("videos_waiting", "Videos that wait for a place").Metric({})
        turned_away = counter("videos_turned_away_total", "Videos that ended before they had a place, by reason")
        self._turned_away = {reason: turned_away.Metric({"reason": reason}) for reason in REASONS}
        self._paused = gauge("videos_paused", "Videos that wait for their listener to read").Metric({})
        self._frames = counter("frames_rendered_total", "Video frames rendered").Metric({})
        videos = counter("videos_total", "Videos by outcome")
        self._videos = {outcome: videos.Metric({"outcome": outcome}) for outcome in OUTCOMES}
        stages = histogram("stage_seconds", "Duration of one run of a stage")
        self._stages = {stage: stages.Metric({"stage": stage}, buckets=SECONDS) for stage in STAGES}
        self._first_fragment = histogram(
            "first_fragment_seconds", "From the start of a video to its first fragment"
        ).Metric({}, buckets=SECONDS)
        self._waited = histogram("waiting_seconds", "From the arrival of a video to its place").Metric(
            {}, buckets=SECONDS
        )
        self._real_time_factor = histogram(
            "real_time_factor", "Seconds it took to make a second of finished video"
        ).Metric({}, buckets=REAL_TIME_FACTORS)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one run of a stage that does not fail."""
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._stages[name].observe(seconds)
        video_record.add_stage(name, seconds)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count a video as paused while its listener does not read."""
        self._paused.increment(1)
        try:
            yield
        finally:
            self._paused.increment(-1)

    def portrait_lookup(self, hit: bool) -> None:
        (self._hits if hit else self._misses).increment(1)

    def frames_rendered(self, frames: int) -> None:
        self._frames.increment(frames)

    def video_waits(self) -> None:
        """Count a video that begins to wait for a place."""
        self._waiting.increment(1)

    def video_turned_away(self, reason: str) -> None:
        """Count a waiting video that is turned away; `reason` is one of places.REASONS."""
        self._turned_away[reason].increment(1)
        self._waiting.increment(-1)

    def video_admitted(self) -> None:
        """Count a waiting video as being made; for an instant as both, so that it is never counted as neither."""
        self._in_flight.increment(1)
        self._waiting.increment(-1)

    def video_ended(self, outcome: str) -> None:
        """Count a finished video; `outcome` is one of OUTCOMES."""
        self._in_flight.increment(-1)
        self._videos[outcome].increment(1)

    def waited(self, seconds: float) -> None:
        self._waited.observe(seconds)

    def first_fragment(self, seconds: float) -> None:
        self._first_fragment.observe(seconds)

    def real_time_factor(self, factor: float) -> None:
        self._real_time_factor.observe(factor)

    def _family(self, kind: Any, name: str, description: str) -> Any:
        family = pb_utils.MetricFamily(name=f"sadtalker_{name}", description=description, kind=kind)
        self._families.append(family)
        return family

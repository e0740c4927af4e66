"""Metrics of live sessions on the server's metrics page."""

from typing import Any

import triton_python_backend_utils as pb_utils

OUTCOMES = ("ended", "refused", "cancelled", "idle", "failed")
SECONDS = [0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0]


class LiveMetrics:
    """Counters, gauges and histograms of the model `sadtalker_live`; their names start with `sadtalker_live_`."""

    def __init__(self) -> None:
        self._families: list[Any] = []  # Triton forgets the metrics of a family that is not kept
        kinds = pb_utils.MetricFamily
        self._sessions = self._family(kinds.GAUGE, "sessions", "Live sessions that go on").Metric({})
        ended = self._family(kinds.COUNTER, "sessions_total", "Live sessions by outcome")
        self._ended = {outcome: ended.Metric({"outcome": outcome}) for outcome in OUTCOMES}
        self._frames = self._family(kinds.COUNTER, "frames_total", "Frames sent").Metric({})
        self._late = self._family(
            kinds.COUNTER, "frames_late_total", "Frames in whose place an earlier picture was sent"
        ).Metric({})
        self._interrupts = self._family(kinds.COUNTER, "interrupts_total", "Interruptions of speech").Metric({})
        self._speech_to_frame = self._family(
            kinds.HISTOGRAM, "speech_to_frame_seconds", "From the arrival of a frame's speech to the frame"
        ).Metric({}, buckets=SECONDS)

    def session_started(self) -> None:
        self._sessions.increment(1)

    def session_ended(self, outcome: str) -> None:
        """Count a finished session; `outcome` is one of OUTCOMES."""
        self._sessions.increment(-1)
        self._ended[outcome].increment(1)

    def frame(self, late: bool) -> None:
        self._frames.increment(1)
        if late:
            self._late.increment(1)

    def interrupted(self) -> None:
        self._interrupts.increment(1)

    def speech_to_frame(self, seconds: float) -> None:
        self._speech_to_frame.observe(seconds)

    def _family(self, kind: Any, name: str, description: str) -> Any:
        family = pb_utils.MetricFamily(name=f"sadtalker_live_{name}", description=description, kind=kind)
        self._families.append(family)
        return family

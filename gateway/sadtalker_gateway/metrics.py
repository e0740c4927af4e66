"""Prometheus metrics of one gateway."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600)


class Metrics:
    """All metrics, in a registry of their own so that several gateways may live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sadtalker_gateway_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.videos = Counter(
            "sadtalker_gateway_videos", "Videos that ended, by outcome", ["outcome"], registry=self.registry
        )
        self.waiting = Gauge("sadtalker_gateway_videos_waiting", "Videos waiting for a place", registry=self.registry)
        self.in_progress = Gauge("sadtalker_gateway_videos_in_progress", "Videos being made", registry=self.registry)
        self.first_fragment = Histogram(
            "sadtalker_gateway_first_fragment_seconds",
            "From the request to the first bytes of the video",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.total = Histogram(
            "sadtalker_gateway_video_seconds",
            "From the request to the end of the video",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.speech = Histogram(
            "sadtalker_gateway_speech_seconds",
            "Synthesis of one sentence",
            buckets=_SECONDS,
            registry=self.registry,
        )

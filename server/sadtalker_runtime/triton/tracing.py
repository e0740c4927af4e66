"""OpenTelemetry spans of a video's calls of other models, which hang under the span that Triton makes of its request.

Triton's own way, `InferenceRequest(trace=request.trace())`, hands the called model the address of the caller's trace.
Triton frees that trace when `execute` returns, and a video goes on long after. So the spans are made here, from the
W3C trace context that Triton gives to every traced request, and sent with OpenTelemetry's own exporter. They need
`pip install '.[tracing]'`, `--trace-config mode=opentelemetry`, and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (or any other of
OpenTelemetry's variables) in the server's environment.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Tracing:
    """Makes and exports spans, or does nothing where no endpoint is set.

    Raises ModuleNotFoundError when an endpoint is set and OpenTelemetry is not installed.
    """

    def __init__(self) -> None:
        self._provider: Any = None
        if not any(os.environ.get(name) for name in ENDPOINTS):
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        service = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "sadtalker")})
        self._provider = TracerProvider(resource=service)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("sadtalker_runtime")

    @contextmanager
    def video(self, context: str | None) -> Iterator[None]:
        """Make spans of this task and of the tasks it starts children of a traced request.

        Args:
            context: of the request, as `request.trace().get_context()` gives it; None where it is not traced.
        """
        if self._provider is None or context is None:
            yield
            return
        from opentelemetry.context import attach, detach
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        token = attach(TraceContextTextMapPropagator().extract(json.loads(context)))
        try:
            yield
        finally:
            detach(token)

    @contextmanager
    def call(self, model: str) -> Iterator[None]:
        """Surround a call of `model`: a span, where the video is traced."""
        if self._provider is None or not self._traced():
            yield
            return
        from opentelemetry.trace import SpanKind

        with self._tracer.start_as_current_span(model, kind=SpanKind.CLIENT, attributes={"triton.model_name": model}):
            yield

    def close(self) -> None:
        """Send what has not been sent."""
        if self._provider is not None:
            self._provider.shutdown()

    @staticmethod
    def _traced() -> bool:
        from opentelemetry.trace import get_current_span

        return bool(get_current_span().get_span_context().is_valid)

"""OpenTelemetry spans of the models that a video calls, below the span that Triton makes of the video's request.

Triton's own way, `InferenceRequest(trace=request.trace())`, hands the called model the address of the caller's trace,
which Triton frees when `execute` returns; a video goes on long after (docs/operating.md, "Traces"). So the spans are
made here, from the W3C trace context that Triton gives to every traced request. A call takes the context along as its
parameter `traceparent`; ensembles pass parameters on to their steps, so the networks' processes can go on with it.
Needs `pip install '.[tracing]'`, `--trace-config mode=opentelemetry`, and OTEL_EXPORTER_OTLP_TRACES_ENDPOINT (or any
other of OpenTelemetry's variables) in the server's environment.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PARAMETER = "traceparent"  # of a request, named as the HTTP header that W3C Trace Context defines


class Tracing:
    """Makes and exports spans, or does nothing where no endpoint is set.

    Raises ModuleNotFoundError when an endpoint is set and OpenTelemetry is not installed.
    """

    def __init__(self) -> None:
        self._provider: Any = None
        if not any(os.environ.get(name) for name in ENDPOINTS):
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ModuleNotFoundError as error:
            names = " or ".join(ENDPOINTS)
            hint = "pip install '.[tracing]' in a checkout, or unset it"
            raise ModuleNotFoundError(f"{names} is set, but {error.name} is missing: {hint}") from error
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

        token = attach(_extracted(json.loads(context)))
        try:
            yield
        finally:
            detach(token)

    @contextmanager
    def call(self, model: str) -> Iterator[dict[str, str]]:
        """Surround a call of `model` with a span, where the caller is traced; yields the parameters of the request."""
        if self._provider is None or not self._traced():
            yield {}
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parameters: dict[str, str] = {}
        with self._tracer.start_as_current_span(model, kind=SpanKind.CLIENT, attributes={"triton.model_name": model}):
            TraceContextTextMapPropagator().inject(parameters)
            yield {PARAMETER: parameters[PARAMETER]}

    @contextmanager
    def execution(self, model: str, *requests: Any) -> Iterator[None]:
        """Surround what `model` does for one request, or for a batch of them, with a span for each that is traced."""
        with ExitStack() as spans:
            if self._provider is not None:
                from opentelemetry.trace import SpanKind

                attributes = {"triton.model_name": model, "triton.requests_in_batch": len(requests)}
                for request in requests:
                    parameters = json.loads(request.parameters())
                    if PARAMETER in parameters:
                        context = _extracted(parameters)
                        span = self._tracer.start_as_current_span(
                            model, context, kind=SpanKind.SERVER, attributes=attributes
                        )
                        spans.enter_context(span)
            yield

    def close(self) -> None:
        """Send the spans that have not been sent."""
        if self._provider is not None:
            self._provider.shutdown()

    @staticmethod
    def _traced() -> bool:
        from opentelemetry.trace import get_current_span

        return bool(get_current_span().get_span_context().is_valid)


@cache
def tracing() -> Tracing:
    """Return the tracing of this process: one model instance is one process."""
    return Tracing()


def _extracted(carrier: Mapping[str, str]) -> Any:
    """Return the OpenTelemetry context that a W3C trace context describes."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract(carrier)

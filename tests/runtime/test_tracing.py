"""Spans, without a server: what is passed on to a called model, and what happens where nothing is traced."""

import json
import sys
from types import SimpleNamespace

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sadtalker_runtime.triton.tracing import ENDPOINTS, Tracing

EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
REQUEST = json.dumps({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})  # as Triton describes a traced request


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Return what takes the place of the exporter."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(f"{EXPORTER}.OTLPSpanExporter", lambda: exporter)
    return exporter


@pytest.fixture
def tracing(monkeypatch: pytest.MonkeyPatch, finished: InMemorySpanExporter) -> Tracing:
    """Return a tracing that keeps its spans in memory."""
    monkeypatch.setenv(ENDPOINTS[0], "http://collector:4318/v1/traces")
    return Tracing()


def request(parameters: dict[str, str]) -> SimpleNamespace:
    return SimpleNamespace(parameters=lambda: json.dumps(parameters))


def parent(span: ReadableSpan) -> int | None:
    return span.parent and span.parent.span_id


def test_an_execution_hangs_under_the_call_and_that_under_the_video(
    tracing: Tracing, finished: InMemorySpanExporter
) -> None:
    with tracing.video(REQUEST), tracing.call("face_renderer") as parameters:
        pass
    with tracing.execution("face_renderer", request(parameters), request({}), request(parameters)):
        pass
    tracing.close()
    call, *executions = finished.get_finished_spans()
    assert parent(call) == 0xCDCDCDCDCDCDCDCD
    assert {span.context.trace_id for span in [call, *executions]} == {int("ab" * 16, 16)}
    assert [parent(span) for span in executions] == [call.context.span_id] * 2  # one request is not traced
    assert [span.attributes["triton.requests_in_batch"] for span in executions] == [3, 3]


def test_a_request_that_is_not_traced_leaves_nothing(tracing: Tracing, finished: InMemorySpanExporter) -> None:
    with tracing.video(None), tracing.call("motion") as parameters, tracing.execution("motion", request({})):
        assert parameters == {}
    tracing.close()
    assert finished.get_finished_spans() == ()


def test_without_an_endpoint_nothing_is_read_or_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    tracing = Tracing()
    with tracing.video(REQUEST), tracing.call("motion") as parameters, tracing.execution("motion", object()):
        assert parameters == {}
    tracing.close()


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINTS[1], "http://collector:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ModuleNotFoundError, match=r"opentelemetry.* is missing: pip install '\.\[tracing\]'"):
        Tracing()

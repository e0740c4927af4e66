"""A small OpenTelemetry collector: takes in, over HTTP, the spans that Triton and the models send."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SERVER, CLIENT = 2, 3  # kinds of spans, as OTLP numbers them
DELAY_MS = "200"  # between two batches of spans


@dataclass(frozen=True)
class Span:
    """One span; ids in hexadecimal, as OTLP's JSON writes them, times in nanoseconds since 1970."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    start: int
    end: int


def from_protobuf(body: bytes) -> list[Span]:
    """Read OTLP/HTTP as Python's exporter sends it."""
    export = ExportTraceServiceRequest.FromString(body)
    spans = [span for resource in export.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return [
        Span(
            s.name,
            s.kind,
            s.trace_id.hex(),
            s.span_id.hex(),
            s.parent_span_id.hex(),
            s.start_time_unix_nano,
            s.end_time_unix_nano,
        )
        for s in spans
    ]


def from_json(body: bytes) -> list[Span]:
    """Read OTLP/HTTP as Triton sends it."""
    resources = json.loads(body)["resourceSpans"]
    spans = [span for resource in resources for scope in resource["scopeSpans"] for span in scope["spans"]]
    return [
        Span(
            s["name"],
            s["kind"],
            s["traceId"],
            s["spanId"],
            s.get("parentSpanId", ""),
            int(s["startTimeUnixNano"]),
            int(s["endTimeUnixNano"]),
        )
        for s in spans
    ]


class Collector:
    """A collector on a free port of this machine."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spans.extend(from_json(body) if "json" in self.headers["Content-Type"] else from_protobuf(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()


def trace_arguments(collector: Collector) -> list[str]:
    """Return arguments that make tritonserver trace every request."""
    settings = ["mode=opentelemetry", "level=TIMESTAMPS", "rate=1", "count=-1"]
    settings += [f"opentelemetry,url={collector.url}", f"opentelemetry,bsp_schedule_delay={DELAY_MS}"]
    return [f"--trace-config={setting}" for setting in settings]


def environment(collector: Collector) -> dict[str, str]:
    """Return variables that make the models send their spans."""
    return {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": DELAY_MS}

"""Metrics that dashboards, alerts and autoscalers ask for are on the metrics page of a server that has made a video."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import promql_parser
import pytest
import yaml
from fastapi.testclient import TestClient
from k8s_manifests import K8S, find, rendered_here
from sadtalker_client import SadTalkerClient
from sadtalker_gateway import Settings, create_app
from sadtalker_server import Server

COMPONENTS = K8S / "components"
# Metrics that other exporters of the cluster have.
ELSEWHERE = {
    "kube_deployment_status_replicas_available": "kube-state-metrics",
    "kube_pod_container_resource_limits": "kube-state-metrics",
    "kube_pod_container_status_restarts_total": "kube-state-metrics",
    "container_memory_working_set_bytes": "cAdvisor",
    "DCGM_FI_DEV_GPU_UTIL": "dcgm-exporter",
    "DCGM_FI_DEV_FB_USED": "dcgm-exporter",
}
# Labels that Prometheus and the operator add when they scrape.
ADDED = {"namespace", "pod", "container", "exported_namespace", "deployment"}


def queries() -> Iterator[tuple[str, str]]:
    """Yield every PromQL expression of k8s/, with where it stands."""
    dashboard = json.loads((COMPONENTS / "monitoring/sadtalker.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$namespace", "sadtalker")
            yield f"dashboard, {panel['title']}", expression
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            (metric,) = re.findall(r"label_values\((\w+),", variable["query"]["query"])
            yield f"dashboard, variable {variable['name']}", metric
    rules = yaml.safe_load((COMPONENTS / "monitoring/prometheusrule.yaml").read_text())
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]
    scaled = yaml.safe_load((COMPONENTS / "autoscaling-keda/scaledobject.yaml").read_text())
    yield "KEDA", scaled["spec"]["triggers"][0]["metadata"]["query"]
    (rule,) = adapter_rules()
    yield "Prometheus adapter, series", rule["seriesQuery"]
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'pod="a"')
    yield "Prometheus adapter", query


def adapter_rules() -> list[dict]:
    values = yaml.safe_load((COMPONENTS / "autoscaling-hpa/prometheus-adapter-values.yaml").read_text())
    return values["rules"]["custom"]


def selectors(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    """Return every choice of series in an expression."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(expression, visit)
    return iter(found)


@pytest.fixture(scope="module")
def page(tiny_server: Server, portrait_path: Path, speech_path: Path) -> list[tuple[str, dict[str, str]]]:
    """Return name and labels of every series, after one video."""
    with SadTalkerClient(tiny_server.grpc_url, timeout=120) as client:
        client.animate(portrait_path, speech_path).read()
    text = urllib.request.urlopen(tiny_server.metrics_url).read().decode()
    text += gateway_metrics()
    lines = re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, flags=re.MULTILINE)
    return [(name, dict(re.findall(r'(\w+)="([^"]*)"', labels))) for name, labels in lines]


def gateway_metrics() -> str:
    """Return the metrics page of a gateway that has answered once and whose videos have ended."""
    app = create_app(Settings(store="memory://"))
    app.state.gateway.metrics.videos.labels("completed")
    with TestClient(app) as client:
        assert client.get("/readyz").status_code in (200, 503)
        return client.get("/metrics").text


@pytest.mark.parametrize(("where", "query"), list(queries()), ids=[where for where, _ in queries()])
def test_query_finds_series(where: str, query: str, page: list[tuple[str, dict[str, str]]]) -> None:
    """Name and labels of each series exist; the comparison of a label's value is left to the query."""
    for selector in selectors(promql_parser.parse(query)):
        name = selector.name or next(m.value for m in selector.matchers.matchers if m.name == "__name__")
        if name in ELSEWHERE:
            continue
        series = [labels for found, labels in page if found == name]
        assert series, f"{where}: the metrics page has no {name}"
        for matcher in selector.matchers.matchers:
            if matcher.name not in ADDED | {"__name__"}:
                assert any(matcher.name in labels for labels in series), f"{where}: {name} has no {matcher.name}"
                values = {labels.get(matcher.name) for labels in series}
                if matcher.name in ("model", "stage", "outcome", "reason"):
                    wanted = matcher.value.split("|")
                    assert values >= set(wanted), f"{where}: no {name} with {matcher.name} {wanted}, only {values}"


def test_every_other_exporter_is_needed() -> None:
    named = {selector.name for _, query in queries() for selector in selectors(promql_parser.parse(query))}
    assert set(ELSEWHERE) <= named


def test_autoscaler_asks_for_what_the_adapter_offers() -> None:
    manifests = next(manifests for chosen, manifests in rendered_here().items() if "autoscaling-hpa" in chosen)
    metric = find(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert [rule["name"]["as"] for rule in adapter_rules()] == [metric]


def test_dashboard_panels_do_not_overlap() -> None:
    panels = json.loads((COMPONENTS / "monitoring/sadtalker.json").read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)

"""The component web: what its manifests say agrees with the gateway's settings, routes and the server's doors."""

from pathlib import Path

import pytest
from k8s_manifests import ROOT, Manifest, find, pod_of, rendered_here, web_container
from sadtalker_gateway import Settings
from sadtalker_gateway.app import _FILES

WEB = {combination: manifests for combination, manifests in rendered_here().items() if "web" in combination}
SERVER = {"app.kubernetes.io/name": "sadtalker", "app.kubernetes.io/component": "server"}
POD = {"app.kubernetes.io/name": "sadtalker", "app.kubernetes.io/component": "web"}


def settings_of(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the gateway's settings in the pod's environment; a variable that it does not know is an error."""
    container = web_container(manifests)
    (config,) = (source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source)
    variables = dict(find(manifests, "ConfigMap", config)["data"])
    variables |= {variable["name"]: variable["value"] for variable in container.get("env", [])}
    names = {f"SADTALKER_GATEWAY_{name.upper()}" for name in Settings.model_fields}
    assert set(variables) <= names
    for name in names:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("combination", WEB, ids="+".join)
def test_settings_and_manifests_agree(combination: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = WEB[combination]
    settings, container = settings_of(manifests, monkeypatch), web_container(manifests)
    pod = pod_of(find(manifests, "Deployment", "sadtalker-web"))
    assert pod is not None
    assert settings.host == "0.0.0.0"
    assert container["ports"] == [{"name": "http", "containerPort": settings.port}]
    assert {"secretRef": {"name": "sadtalker-web", "optional": True}} in container["envFrom"]
    paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert {name: container[name]["httpGet"] for name in paths} == {
        name: {"path": path, "port": "http"} for name, path in paths.items()
    }
    stop = container["lifecycle"]["preStop"]["sleep"]["seconds"] + 2 * settings.stop_seconds
    assert pod["terminationGracePeriodSeconds"] > stop, "streams, then videos, may end first"
    assert not settings.store.startswith("file:"), "replicas share the store"

    kind, _, place = settings.triton_url.partition(":///")
    host, _, port = place.partition(":")
    headless = find(manifests, "Service", "sadtalker-headless")
    assert kind == "dns" and host == "sadtalker-headless.sadtalker.svc.cluster.local"
    assert int(port) in [entry["port"] for entry in headless["spec"]["ports"] if entry["name"] == "grpc"]
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    certificates = [settings.triton_root_certificates, settings.triton_certificate, settings.triton_private_key]
    wanted = 3 if "mtls" in combination else 1 if "tls" in combination else 0
    assert [path is not None for path in certificates].count(True) == wanted
    assert all(str(Path(path).parent) in mounts for path in certificates if path)


@pytest.mark.parametrize("combination", WEB, ids="+".join)
def test_service_route_scaler_and_budget_mean_these_pods(combination: tuple[str, ...]) -> None:
    manifests = WEB[combination]
    deployment = find(manifests, "Deployment", "sadtalker-web")
    assert POD.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"] == POD
    assert "replicas" not in deployment["spec"], "the autoscaler owns the number"
    service = find(manifests, "Service", "sadtalker-web")["spec"]
    assert service["selector"] == POD
    (port,) = service["ports"]
    assert port["targetPort"] == "http"
    assert find(manifests, "PodDisruptionBudget", "sadtalker-web")["spec"]["selector"]["matchLabels"] == POD
    scaled = find(manifests, "HorizontalPodAutoscaler", "sadtalker-web")["spec"]
    assert (scaled["scaleTargetRef"]["name"], scaled["minReplicas"]) == ("sadtalker-web", 2)
    assert "cpu" in web_container(manifests)["resources"]["requests"], "utilisation is of what is requested"
    rules = find(manifests, "HTTPRoute", "sadtalker-web")["spec"]["rules"]
    assert all(rule["backendRefs"] == [{"name": "sadtalker-web", "port": port["port"]}] for rule in rules)
    matches = [match["path"] for rule in rules for match in rule["matches"]]
    assert [match["value"] for match in matches if match["type"] == "PathPrefix"] == ["/v1"]
    exact = {match["value"] for match in matches if match["type"] == "Exact"}
    assert exact == {*_FILES, "/openapi.json"}, "the page's files, and neither probes nor metrics"
    policy = find(manifests, "BackendTrafficPolicy", "sadtalker-web")["spec"]
    assert policy["targetRefs"][0]["name"] == "sadtalker-web"
    assert policy["timeout"]["http"]["requestTimeout"] == policy["timeout"]["http"]["maxStreamDuration"] == "0s"


@pytest.mark.parametrize("combination", rendered_here(), ids="+".join)
def test_only_the_web_pods_reach_the_server(combination: tuple[str, ...]) -> None:
    """Beside the load test, and the gateway component where somebody adds it."""
    manifests = rendered_here()[combination]
    policies = [m["spec"] for m in manifests if m["kind"] == "NetworkPolicy"]
    callers = [
        source
        for policy in policies
        if policy["podSelector"].get("matchLabels") == SERVER
        for rule in policy.get("ingress", [])
        if any(port["port"] == "grpc" for port in rule["ports"])
        for source in rule["from"]
    ]
    ours = {"key": "app.kubernetes.io/component", "operator": "In", "values": ["web", "load-test"]}
    name = {"app.kubernetes.io/name": "sadtalker"}
    expected: list[Manifest] = [{"podSelector": {"matchLabels": name, "matchExpressions": [ours]}}]
    if "web" not in combination:
        expected = [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"sadtalker/client": "true"}}}]
    if "gateway" in combination:
        expected.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "envoy-gateway-system"}}})
    assert callers == expected
    if "web" in combination:
        egress = find(manifests, "NetworkPolicy", "sadtalker-web")["spec"]["egress"]
        assert {"podSelector": {"matchLabels": SERVER}} in [target for rule in egress for target in rule["to"]]


def test_the_image_runs_the_gateway_without_triton() -> None:
    lines = (ROOT / "k8s/image/Dockerfile.cpu").read_text().partition(" AS gateway")[2].partition("\nFROM")[0]
    assert "[gateway]" in lines and "[server]" not in lines

"""Every overlay renders with its components, into documents that the Kubernetes API accepts."""

import json
import subprocess
import sys

import jsonschema
import kubernetes_validate
import pytest
from k8s_manifests import (
    K8S,
    RENDERED,
    ROOT,
    committed,
    distinct_manifests,
    documents_of,
    find,
    render,
    rendered_here,
    server_container,
    sources_digest,
)

# preStop.sleep is on by default from 1.30; the newest is what this kubernetes-validate knows.
KUBERNETES_VERSIONS = ("1.30", kubernetes_validate.latest_version())
CUSTOM = {
    (schema["x-apiVersion"], schema["x-kind"]): schema
    for schema in (json.loads(path.read_text()) for path in (K8S / "schemas").glob("*.json"))
}


def test_every_folder_is_part_of_a_tested_combination() -> None:
    used = {part for combination in rendered_here() for part in combination}
    folders = {path.parent.name for part in ("overlays", "components") for path in (K8S / part).glob("*/*")}
    assert used == folders


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_core_kinds_fit_the_api(version: str) -> None:
    for manifest in distinct_manifests():
        if (manifest["apiVersion"], manifest["kind"]) not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_custom_kinds_fit_their_schemas() -> None:
    seen = set()
    for manifest in distinct_manifests():
        kind = (manifest["apiVersion"], manifest["kind"])
        if kind in CUSTOM:
            jsonschema.validate(manifest, CUSTOM[kind], cls=jsonschema.Draft202012Validator)
            seen.add(kind)
    assert seen == set(CUSTOM), "a schema without a document, or the other way round"


def test_everything_lives_in_one_namespace() -> None:
    for manifest in distinct_manifests():
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "sadtalker", manifest["metadata"]["name"]


def test_committed_renderings_belong_to_the_sources() -> None:
    stale = "k8s/ has changed: run `python tests/k8s/k8s_manifests.py` where kubectl is installed"
    assert (RENDERED / "SOURCES.sha256").read_text().strip() == sources_digest(), stale
    assert {path.stem for path in RENDERED.glob("*.yaml")} == {"+".join(combination) for combination in committed()}


@pytest.mark.parametrize("combination", committed(), ids="+".join)
def test_committed_rendering_is_what_the_renderer_makes(combination: tuple[str, ...]) -> None:
    kept = (RENDERED / f"{'+'.join(combination)}.yaml").read_text()
    assert documents_of(kept) == documents_of(render(combination))


def test_components_take_effect() -> None:
    arguments = {name: " ".join(server_container(manifests)["args"]) for name, manifests in rendered_here().items()}
    for combination, line in arguments.items():
        assert ("--grpc-use-ssl=true" in line) == bool({"tls", "mtls"} & set(combination)), combination
        assert ("--grpc-use-ssl-mutual=true" in line) == ("mtls" in combination), combination


def test_autoscaling_aims_at_what_the_overlay_says_one_replica_can_do() -> None:
    targets = {}
    for combination, manifests in rendered_here().items():
        deployment = find(manifests, "Deployment")
        per_replica = deployment["metadata"]["annotations"]["sadtalker/videos-per-replica"]
        assert float(per_replica) > 0
        if "autoscaling-hpa" in combination:
            targets[combination] = find(manifests, "HorizontalPodAutoscaler")["spec"]["metrics"][0]["pods"]["target"]
            assert targets[combination] == {"type": "AverageValue", "averageValue": per_replica}
        if "autoscaling-keda" in combination:
            assert find(manifests, "ScaledObject")["spec"]["triggers"][0]["metadata"]["threshold"] == per_replica
        scaled = any(component.startswith("autoscaling") for component in combination)
        assert ("replicas" in deployment["spec"]) != scaled, f"{combination}: two owners of the number of replicas"


def test_yaml_style() -> None:
    command = [sys.executable, "-m", "yamllint", "--strict", "-c", str(K8S / "yamllint.yaml"), str(K8S)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr

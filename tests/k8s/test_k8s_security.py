"""Pods need no privilege, traffic is named, Dockerfiles are clean; `k8s_checkov.py` looks for common mistakes."""

import subprocess
import sysconfig
from pathlib import Path

import pytest
from k8s_manifests import K8S, Manifest, distinct_manifests, find, pod_of, rendered_here

PODS = [(manifest["metadata"]["name"], pod) for manifest in distinct_manifests() if (pod := pod_of(manifest))]


@pytest.mark.parametrize("pod", [pod for _, pod in PODS], ids=[name for name, _ in PODS])
def test_pod_keeps_the_restricted_standard_and_more(pod: Manifest) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards, "Restricted"; read-only roots; no token."""
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["runAsGroup"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
        assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], f"{volume['name']} can fill the node"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]) & set(container["resources"]["limits"])
        assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]


def test_namespace_enforces_the_restricted_standard() -> None:
    for combination, manifests in rendered_here().items():
        labels = find(manifests, "Namespace")["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted", combination


def test_traffic_is_denied_unless_named() -> None:
    for combination, manifests in rendered_here().items():
        deny = find(manifests, "NetworkPolicy", "default-deny")["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}, combination
        for policy in (m for m in manifests if m["kind"] == "NetworkPolicy"):
            for rule in policy["spec"].get("ingress", []):
                assert rule["from"] and rule["ports"], policy["metadata"]["name"]
            for rule in policy["spec"].get("egress", []):
                assert rule["to"] and rule["ports"], policy["metadata"]["name"]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu"])
def test_hadolint_finds_nothing(name: str) -> None:
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    result = subprocess.run([hadolint, K8S / "image" / name], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr

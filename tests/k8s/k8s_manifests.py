"""Renders k8s/ the way a user does: an overlay, and components on top of it.

kubectl or kustomize does the rendering. Where neither is installed the committed renderings in `rendered/` stand in;
a digest of the sources shows that they are not stale. After a change under k8s/:

    python tests/k8s/k8s_manifests.py     renders them again
"""

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
RENDERED = Path(__file__).parent / "rendered"
OVERLAYS = ("cpu", "a100", "a100-mig", "h200")
# One of each row at most, in this order: a later component patches what an earlier one brought.
ALTERNATIVES: tuple[tuple[str | None, ...], ...] = (
    (None, "monitoring"),
    (None, "autoscaling-hpa", "autoscaling-keda"),
    (None, "load-test"),
    (None, "web"),
    (None, "tls", "mtls", "gateway"),
)

Manifest = dict[str, Any]
Combination = tuple[str, ...]  # an overlay, then components


def all_combinations() -> list[Combination]:
    """Return every overlay with every set of components that can be used together: 384."""
    return [(overlay, *filter(None, choice)) for overlay in OVERLAYS for choice in itertools.product(*ALTERNATIVES)]


def tested_combinations() -> list[Combination]:
    """Return the combinations with no component, one, two, or as many as go together: 156, which cover every pair."""
    return [chosen for chosen in all_combinations() if len(chosen) - 1 in (0, 1, 2, len(ALTERNATIVES))]


def committed() -> list[Combination]:
    """Return the combinations that `rendered/` keeps: every overlay alone, and every component on some overlay."""
    return [
        *((overlay,) for overlay in OVERLAYS),
        ("cpu", "monitoring", "autoscaling-hpa", "load-test", "web", "mtls"),
        ("a100", "monitoring", "autoscaling-keda", "load-test", "web", "gateway"),
        ("a100-mig", "monitoring", "autoscaling-hpa", "load-test", "web", "tls"),
    ]


def renderer() -> list[str] | None:
    """Return the command that renders a folder; None where neither kustomize nor kubectl is installed."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    return ["kubectl", "kustomize"] if shutil.which("kubectl") else None


def render(combination: Combination) -> str:
    """Render one combination as YAML; raises RuntimeError with the renderer's message."""
    command = renderer()
    if command is None:
        return _file(combination).read_text()
    overlay, *components = combination
    with tempfile.TemporaryDirectory() as folder:
        base = Path(os.path.relpath(K8S, Path(folder).resolve()))
        kustomization = {
            "resources": [f"{base}/overlays/{overlay}"],
            "components": [f"{base}/components/{component}" for component in components],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        result = subprocess.run([*command, folder], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' + '.join(combination)}: {result.stderr.strip()}")
    return result.stdout


@cache
def rendered_here() -> dict[Combination, list[Manifest]]:
    """Return the combinations that are tested here, as documents."""
    wanted = tested_combinations() if renderer() else committed()
    return dict(zip(wanted, map(documents_of, render_all(wanted)), strict=True))


def render_all(wanted: list[Combination]) -> list[str]:
    """Call `render` for each, several at once."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(render, wanted))


def documents_of(text: str) -> list[Manifest]:
    """Return the documents of a rendering."""
    return [document for document in yaml.load_all(text, Loader=_Loader) if document]


def distinct_manifests() -> list[Manifest]:
    """Return every different document of the tested combinations, once."""
    documents = itertools.chain.from_iterable(rendered_here().values())
    return list({yaml.dump(document, Dumper=_Dumper): document for document in documents}.values())


def find(manifests: list[Manifest], kind: str, name: str = "sadtalker") -> Manifest:
    """Return the document of that kind and name."""
    (found,) = (m for m in manifests if m["kind"] == kind and m["metadata"]["name"] == name)
    return found


def web_container(manifests: list[Manifest]) -> Manifest:
    """Return the container that runs the gateway."""
    (container,) = find(manifests, "Deployment", "sadtalker-web")["spec"]["template"]["spec"]["containers"]
    return container


def pod_of(manifest: Manifest) -> Manifest | None:
    """Return the pod specification inside a workload; None for other kinds."""
    return manifest["spec"]["template"]["spec"] if manifest["kind"] in ("Deployment", "Job") else None


def server_container(manifests: list[Manifest]) -> Manifest:
    """Return the container that runs Triton."""
    (container,) = find(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return container


def sources_digest() -> str:
    """Return the SHA-256 over the names and contents of everything that rendering reads."""
    digest = hashlib.sha256()
    for path in sorted(path for part in ("base", "overlays", "components") for path in (K8S / part).rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(K8S)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _file(combination: Combination) -> Path:
    return RENDERED / f"{'+'.join(combination)}.yaml"


def _write() -> None:
    if renderer() is None:
        sys.exit("rendering needs kubectl (https://kubernetes.io/docs/tasks/tools) or kustomize")
    render_all(all_combinations())  # one that cannot be rendered stops here
    RENDERED.mkdir(exist_ok=True)
    for old in RENDERED.glob("*.yaml"):
        old.unlink()
    for combination in committed():
        _file(combination).write_text(render(combination))
    (RENDERED / "SOURCES.sha256").write_text(sources_digest() + "\n")


if __name__ == "__main__":
    _write()

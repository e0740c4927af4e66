"""Image, manifests, launcher, tritonserver and model repository speak of the same ports, paths, names and times."""

import argparse
import importlib
import json
import math
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from google.protobuf import text_format
from k8s_manifests import K8S, OVERLAYS, ROOT, Manifest, committed, find, pod_of, rendered_here, server_container
from packaging.requirements import Requirement
from sadtalker_export.cli import COMMANDS
from sadtalker_runtime.version import VERSION
from sadtalker_server import _installation, _server
from sadtalker_server._restriction import KEY_VARIABLE, key_headers
from sadtalker_server.cli import _parse
from tritonclient.grpc import model_config_pb2

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

MODELS = {path.parent.name for path in (ROOT / "model_repository").glob("*/config.pbtxt")}
# Options of tritonserver that the embedded 2.51 lacks, with the version that brought them: for the NGC image (2.71).
YOUNGER = {"--grpc-max-response-pool-size": "2.56"}
COMBINATIONS = {combination: rendered_here()[combination] for combination in committed()}


def arguments_of(combination: tuple[str, ...]) -> tuple[argparse.Namespace, list[str]]:
    """Return the launcher's options and what goes on to tritonserver."""
    options = _parse(server_container(COMBINATIONS[combination])["args"])
    return options, options.tritonserver_arguments


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_ports(combination: tuple[str, ...]) -> None:
    manifests = COMBINATIONS[combination]
    options, _ = arguments_of(combination)
    container = server_container(manifests)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": options.http_port, "grpc": options.grpc_port}
    assert options.host == "0.0.0.0", "probes and clients come from outside the pod"
    probes = {"startupProbe": "/readyz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    assert {name: container[name]["httpGet"] for name in probes} == {
        name: {"path": path, "port": "http"} for name, path in probes.items()
    }

    served = {}
    for service in (m for m in manifests if m["kind"] == "Service" and m["metadata"]["name"] != "sadtalker-web"):
        assert service["spec"]["selector"].items() <= pod_labels(manifests).items()
        served = {port["name"]: port["port"] for port in service["spec"]["ports"]}
        assert served == {name: ports[name] for name in served}, "a Service keeps the server's own numbers"
        assert all(port["targetPort"] == port["name"] for port in service["spec"]["ports"])
    if "monitoring" in combination:
        monitor = find(manifests, "PodMonitor")["spec"]
        assert monitor["podMetricsEndpoints"][0]["port"] == "http"
        assert monitor["selector"] == find(manifests, "NetworkPolicy", "sadtalker-monitoring")["spec"]["podSelector"]
    if "gateway" in combination:
        assert find(manifests, "GRPCRoute")["spec"]["rules"][0]["backendRefs"] == [{"name": "sadtalker", "port": 8001}]
    if "load-test" in combination:
        job = find(manifests, "Job", "sadtalker-load-test")
        assert f"-usadtalker:{served['grpc']}" in job["spec"]["template"]["spec"]["containers"][0]["args"]
    for policy in (manifest["spec"] for manifest in manifests if manifest["kind"] == "NetworkPolicy"):
        for rule in policy.get("ingress", []):
            assert {port["port"] for port in rule["ports"]} <= set(ports)


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_the_key_of_restricted_protocols_is_one(combination: tuple[str, ...]) -> None:
    """Server and load test take it from the same Secret, which the server can do without."""
    manifests = COMBINATIONS[combination]
    [key] = server_container(manifests)["env"]
    secret = {"name": "sadtalker-admin", "key": "key"}
    assert key == {"name": KEY_VARIABLE, "valueFrom": {"secretKeyRef": {**secret, "optional": True}}}
    if "load-test" in combination:
        container = find(manifests, "Job", "sadtalker-load-test")["spec"]["template"]["spec"]["containers"][0]
        assert container["env"] == [{"name": "ADMIN_KEY", "valueFrom": {"secretKeyRef": secret}}]
        [header] = key_headers("$(ADMIN_KEY)").items()
        assert f"-H{':'.join(header)}" in container["args"]


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_times(combination: tuple[str, ...]) -> None:
    options, passed_on = arguments_of(combination)
    pod = pod_of(find(COMBINATIONS[combination], "Deployment"))
    assert pod is not None
    container = pod["containers"][0]
    assert options.exit_timeout_secs >= parameter_of_sadtalker("max_audio_seconds"), (
        "a video that keeps up with real time must be allowed to end"
    )
    drain = container["lifecycle"]["preStop"]["sleep"]["seconds"] + options.exit_timeout_secs + _server._GRACE_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= drain
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= options.start_timeout_secs
    ages = {name: int(value) for name, value in (flag.split("=", 1) for flag in passed_on) if "connection-age" in name}
    assert ages["--grpc-max-connection-age-grace"] > options.exit_timeout_secs * 1000
    if "gateway" in combination:
        timeout = find(COMBINATIONS[combination], "BackendTrafficPolicy")["spec"]["timeout"]["http"]
        assert timeout["requestTimeout"] == timeout["maxStreamDuration"] == "0s", "a stream has no fixed length"
        assert timeout["streamIdleTimeout"] == f"{pod['terminationGracePeriodSeconds']}s"


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_volumes(combination: tuple[str, ...]) -> None:
    options, _ = arguments_of(combination)
    for manifest in COMBINATIONS[combination]:
        if (pod := pod_of(manifest)) is None:
            continue
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        containers = [*pod.get("initContainers", []), *pod["containers"]]
        mounted = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert mounted == set(volumes), "a volume without a mount, or the other way round"
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                find(COMBINATIONS[combination], "PersistentVolumeClaim", claim["claimName"])
            if config := volume.get("configMap"):
                find(COMBINATIONS[combination], "ConfigMap", config["name"])

    pod = pod_of(find(COMBINATIONS[combination], "Deployment"))
    assert pod is not None
    mounts = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts[str(options.model_repository)]["readOnly"], "the server changes no model"
    assert not mounts["/tmp"].get("readOnly") and not mounts["/dev/shm"].get("readOnly")
    shm = next(volume["emptyDir"] for volume in pod["volumes"] if volume["name"] == mounts["/dev/shm"]["name"])
    assert shm["medium"] == "Memory"
    memory = pod["containers"][0]["resources"]["limits"]["memory"]
    assert shared_memory_of_full_load() <= gibibytes(shm["sizeLimit"]) <= gibibytes(memory) / 4


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_models_are_prepared_in_order_and_served_from_where_they_were_put(combination: tuple[str, ...]) -> None:
    pod = pod_of(find(COMBINATIONS[combination], "Deployment"))
    assert pod is not None
    steps = {container["name"]: " ".join(container["args"]) for container in pod["initContainers"]}
    gpu = combination[0] != "cpu"
    assert list(steps) == ["repository", "weights", "onnx", "local", *(["engines"] if gpu else [])]
    shared, served = "/models/repository-$(RELEASE)", str(arguments_of(combination)[0].model_repository)
    assert steps["repository"].endswith(f"/opt/sadtalker/model_repository/. {shared}")
    assert steps["weights"] == "sadtalker-export weights --official /models/weights"
    form = " --precision fp16" if gpu else " --precision=auto --tactics=measured --tactics-seconds=300"
    assert steps["onnx"] == f"sadtalker-export onnx --weights /models/weights --repository {shared}{form}"
    if not gpu:
        cores = {container["name"]: container["resources"] for container in pod["initContainers"]}["onnx"]["limits"]
        assert cores == {key: pod["containers"][0]["resources"]["limits"][key] for key in cores}, "measured as served"
    assert steps["local"] == f"cp --recursive {shared}/. {served}"
    if gpu:
        assert steps["engines"] == f"sadtalker-export tensorrt --repository {served} --cache /models/engines"
        (resource,) = (name for name in pod["containers"][0]["resources"]["limits"] if name.startswith("nvidia.com/"))
        engines = pod["initContainers"][-1]["resources"]["limits"]
        assert resource in engines, "a plan is built on the kind of device that runs it"
    for container in pod["initContainers"]:
        assert container["command"] == ["flock", "/models/.lock"], "one replica at a time prepares"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_export_commands_exist(overlay: str) -> None:
    pod = pod_of(find(COMBINATIONS[(overlay,)], "Deployment"))
    assert pod is not None
    for step in pod["initContainers"]:
        if step["args"][0] == "sadtalker-export":
            command = next(command for command in COMMANDS if command.name == step["args"][1])
            parser = argparse.ArgumentParser(exit_on_error=False)
            importlib.import_module(command.module, "sadtalker_export").add_arguments(parser)
            parser.parse_args(step["args"][2:])


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_every_heavy_network_has_the_configuration_of_the_overlay(combination: tuple[str, ...]) -> None:
    name = arguments_of(combination)[0].model_config_name
    assert name == ("auto" if combination[0] == "cpu" else combination[0])
    if name != "auto":
        for model in ("appearance_encoder", "face_renderer"):
            assert (ROOT / "model_repository" / model / "configs" / f"{name}.pbtxt").is_file()


@pytest.mark.parametrize("combination", COMBINATIONS, ids="+".join)
def test_release_is_one(combination: tuple[str, ...]) -> None:
    manifests = COMBINATIONS[combination]
    version = pod_labels(manifests)["app.kubernetes.io/version"]
    pods = [pod for manifest in manifests if (pod := pod_of(manifest))]
    images = {container["image"] for pod in pods for container in [*pod.get("initContainers", []), *pod["containers"]]}
    ours = {f"registry.example.com/{image}:{version}" for image in ("sadtalker", "sadtalker-export")}
    if "web" in combination:
        ours.add(f"registry.example.com/sadtalker-gateway:{VERSION}")  # the same for every hardware
    assert {image for image in images if "sadtalker" in image} == ours
    assert version.removesuffix("-cpu") == VERSION


def test_models_that_are_named_exist() -> None:
    for manifests in COMBINATIONS.values():
        text = json.dumps(manifests).replace("\\", "")
        patterns = re.findall(r'model=~?"([^"$]+)"', text) + re.findall(r'"-m(\w+)"', text)
        named = {name for pattern in patterns for name in pattern.split("|")}
        assert named <= MODELS, named - MODELS


def test_tritonserver_accepts_every_flag(tmp_path: Path) -> None:
    """The real binary parses them all, and only then misses the repository."""
    tritonserver = _installation.find_tritonserver("embedded", tmp_path)
    lines = {tuple(arguments_of(combination)[1]) for combination in COMBINATIONS}
    for line in lines:
        flags = [flag for flag in line if flag.split("=")[0] not in YOUNGER]
        command = [tritonserver.binary, "--model-repository=/nowhere", *flags]
        result = subprocess.run(command, env=tritonserver.environment, capture_output=True, text=True)
        assert "failed to stat file /nowhere" in result.stdout + result.stderr, f"{flags}\n{result.stderr[:2000]}"


def test_younger_flags_stay_with_the_newer_image() -> None:
    for combination in COMBINATIONS:
        flags = {flag.split("=")[0] for flag in arguments_of(combination)[1]}
        assert combination[0] != "cpu" or not flags & set(YOUNGER), combination
        assert combination[0] == "cpu" or set(YOUNGER) <= flags, "an exception that nothing needs"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu"])
def test_dockerfile(name: str) -> None:
    stages = stages_of(K8S / "image" / name)
    options, _ = arguments_of(("cpu",))
    ports = [f"--http-port={options.http_port}", f"--grpc-port={options.grpc_port}"]
    server, export = stages["server"], stages["export"]
    assert server["USER"] == export["USER"] == ["1000:1000"], "the pods' user"
    assert json.loads(server["ENTRYPOINT"][0]) == ["sadtalker-server"]
    assert json.loads(export["ENTRYPOINT"][0]) == ["sadtalker-export"]
    if gateway := stages.get("gateway"):
        assert gateway["USER"] == ["1000:1000"]
        assert json.loads(gateway["ENTRYPOINT"][0]) == ["sadtalker-gateway"]
        assert gateway["EXPOSE"] == ["8080"] and "--port=8080" in json.loads(gateway["CMD"][0])
    assert server["EXPOSE"] == [f"{options.http_port} {options.grpc_port}"]
    command = json.loads(server["CMD"][0])
    assert command == ["--model-repository=/opt/sadtalker/model_repository", "--host=0.0.0.0", *ports]
    _parse(command)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {"sadtalker-server", "sadtalker-export"} <= set(scripts)


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.cpu"])
def test_build_context_has_what_the_dockerfile_copies(name: str) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    copied = set()
    for stage in stages_of(K8S / "image" / name).values():
        for arguments in stage.get("COPY", []):
            if not arguments.startswith("--from="):
                copied |= set(arguments.split()[:-1])
    for source in copied:
        assert (ROOT / source).exists(), f"COPY {source}: no such file in the repository"
        assert any(fnmatch(source, pattern) for pattern in kept), f"COPY {source}: .dockerignore keeps it out"
    assert ignore.index("*") < min(ignore.index(f"!{line}") for line in kept)


def test_requirements_of_the_gpu_image_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        str(Requirement(line)) for line in [*project["dependencies"], *project["optional-dependencies"]["server"]]
    }
    lines = (K8S / "image/requirements.txt").read_text().splitlines()
    given = {str(Requirement(line)) for line in lines if line and not line.startswith("#")}
    assert given <= wanted, f"not what pyproject says: {given - wanted}"
    missing = {Requirement(line).name for line in wanted} - {Requirement(line).name for line in given}
    assert missing == {"nvidia-pytriton", "onnxruntime-openvino"}, "what NGC's container brings itself"


def test_load_test_uses_the_tools_of_the_image_release() -> None:
    release = re.search(r"ARG NGC_RELEASE=(\S+)", (K8S / "image/Dockerfile").read_text())
    assert release is not None
    job = next(find(m, "Job", "sadtalker-load-test") for c, m in COMBINATIONS.items() if "load-test" in c)
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"nvcr.io/nvidia/tritonserver:{release[1]}-py3-sdk"


def pod_labels(manifests: list[Manifest]) -> dict[str, str]:
    return find(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]


def config_of(model: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(
        (ROOT / "model_repository" / model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig()
    )


def parameter_of_sadtalker(name: str) -> float:
    return float(config_of("sadtalker").parameters[name].string_value)


def shared_memory_of_full_load() -> float:
    """Return GiB of tensors while as many videos as allowed are made, doubled for the allocator's slack."""
    renderer = config_of("face_renderer")
    item = sum(math.prod(tensor.dims) * 4 for tensor in renderer.input) + math.prod(renderer.output[0].dims)
    waveform = parameter_of_sadtalker("max_audio_seconds") * 16000 * 4
    video = parameter_of_sadtalker("chunks_in_flight") * item + waveform
    return parameter_of_sadtalker("videos_at_once") * video * 2 / 2**30


def gibibytes(quantity: str) -> float:
    assert quantity.endswith("Gi"), quantity
    return float(quantity[:-2])


def stages_of(dockerfile: Path) -> dict[str, dict[str, list[str]]]:
    """Return stage name -> instruction -> what follows it, one entry per occurrence."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(), flags=re.MULTILINE)
    stages: dict[str, dict[str, list[str]]] = {}
    stage: dict[str, list[str]] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if not line.strip():
            continue
        instruction, rest = line.split(maxsplit=1)
        if instruction == "FROM":
            stage = stages.setdefault(rest.split()[-1], {})
        stage.setdefault(instruction, []).append(rest)
    return stages

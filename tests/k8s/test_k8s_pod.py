"""Pods of the `cpu` overlay without a cluster: their arguments, their probes, their doors, their end."""

import io
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
import psutil
import pytest
from k8s_manifests import ROOT, Manifest, find, pod_of, rendered_here, server_container
from sadtalker_client import TLS, SadTalkerClient, ServerUnavailableError
from sadtalker_server._processes import find_stubs
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

PLAIN = ("cpu",)
SECURED = ("cpu", "monitoring", "autoscaling-hpa", "load-test", "web", "mtls")
CERTIFICATES = ROOT / "tests/client/loopback"  # self-signed, for localhost
ADMIN_KEY = "an admin's key"


class Running(NamedTuple):
    container: Manifest
    process: subprocess.Popen[bytes]
    ports: dict[str, int]  # the container's port names, with the free ports that stand for their numbers
    log: Path

    def url(self, port: str) -> str:
        return f"localhost:{self.ports[port]}"

    def probe(self, name: str) -> int:
        """Return the HTTP status of one of the container's probes; 0 when nothing answers."""
        probe = self.container[name]
        try:
            url = f"http://{self.url(probe['httpGet']['port'])}{probe['httpGet']['path']}"
            return urllib.request.urlopen(url, timeout=probe["timeoutSeconds"]).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def pod(combination: tuple[str, ...], repository: Path, folder: Path) -> Iterator[Running]:
    """Run the container's command until it is ready; only paths, address and port numbers are this machine's."""
    container = server_container(rendered_here()[combination])
    ports = {port["name"]: free_port() for port in container["ports"]}
    here = {
        "--model-repository=/repository": f"--model-repository={repository}",
        "--host=0.0.0.0": "--host=127.0.0.1",
        **{
            f"--{p['name']}-port={p['containerPort']}": f"--{p['name']}-port={ports[p['name']]}"
            for p in container["ports"]
        },
    }
    assert set(here) <= set(container["args"])
    arguments = [here.get(argument, argument) for argument in container["args"]]
    arguments = [argument.replace("/tls/", f"{folder}/") for argument in arguments]
    [variable] = container["env"]
    command = [Path(sysconfig.get_path("scripts"), "sadtalker-server"), *arguments]  # the image's ENTRYPOINT
    log = folder / "log"
    with log.open("wb") as stream:
        environment = {**os.environ, variable["name"]: ADMIN_KEY}
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    running = Running(container, process, ports, log)
    try:
        wait_until(lambda: running.probe("startupProbe") == 200, 120, running)
        yield running
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.fixture
def one_place(tiny_repository: Path, tmp_path: Path) -> Path:
    """Make a repository whose second video waits."""
    repository = tmp_path / "model_repository"
    shutil.copytree(tiny_repository, repository)
    config = repository / "sadtalker" / "config.pbtxt"
    several, one = ('"videos_at_once" value: { string_value: ' + number for number in ('"16"', '"1"'))
    assert several in config.read_text()
    config.write_text(config.read_text().replace(several, one))
    return repository


def test_pod_starts_serves_and_drains(one_place: Path, portrait_path: Path, two_seconds: Path, tmp_path: Path) -> None:
    grace = pod_of(find(rendered_here()[PLAIN], "Deployment"))["terminationGracePeriodSeconds"]
    with pod(PLAIN, one_place, tmp_path) as running:
        assert running.probe("livenessProbe") == running.probe("readinessProbe") == 200

        with SadTalkerClient(running.url("grpc"), timeout=120) as client:
            animation = client.animate(portrait_path, idle=8.0)
            fragments = [next(animation)]
            waiting = client.animate(portrait_path, two_seconds)
            page = f"http://{running.url('http')}/metrics"
            wait_until(lambda: b"sadtalker_videos_waiting 1" in urllib.request.urlopen(page).read(), 20, running)
            running.process.send_signal(signal.SIGTERM)
            told_to_end = time.monotonic()
            assert 0 < fragments[0].frames_done < fragments[0].frames_total

            time.sleep(0.5)  # for the signal to arrive: a video that comes before it would be made, too
            with pytest.raises(ServerUnavailableError, match="the server is stopping"):
                next(client.animate(portrait_path, two_seconds))
            with pytest.raises(ServerUnavailableError, match="the server is stopping"):
                next(waiting)
            fragments += animation

        assert fragments[-1].frames_done == fragments[-1].frames_total
        assert frames_in(b"".join(fragment.data for fragment in fragments)) == fragments[-1].frames_total
        assert running.process.wait(grace) == 0, running.log.read_text()[-2000:]
        assert time.monotonic() - told_to_end < grace
        assert running.probe("readinessProbe") == 0


def test_pod_that_loses_a_process_ends_its_videos_and_itself(
    tiny_repository: Path, portrait_path: Path, two_seconds: Path, tmp_path: Path
) -> None:
    with pod(PLAIN, tiny_repository, tmp_path) as running:
        with SadTalkerClient(running.url("grpc"), timeout=120) as client:
            animation = client.animate(portrait_path, two_seconds)
            next(animation)
            [tritonserver] = psutil.Process(running.process.pid).children()
            stubs = {stub.model: stub.pid for stub in find_stubs(tritonserver.pid)}
            os.kill(stubs["face_renderer"], signal.SIGKILL)
            with pytest.raises(ServerUnavailableError, match="a process of the server died, try another"):
                list(animation)
        assert running.process.wait(30) == 1, "Kubernetes restarts a container that ends"
        assert running.probe("readinessProbe") == running.probe("livenessProbe") == 0


def test_pod_with_mutual_tls_and_restricted_protocols(tiny_repository: Path, tmp_path: Path) -> None:
    for name, file in {"tls.crt": "certificate.pem", "ca.crt": "certificate.pem", "tls.key": "key.pem"}.items():
        (tmp_path / name).write_bytes((CERTIFICATES / file).read_bytes())
    authority, key = tmp_path / "ca.crt", tmp_path / "tls.key"
    with pod(SECURED, tiny_repository, tmp_path) as running:
        assert running.probe("livenessProbe") == running.probe("readinessProbe") == 200
        identity = TLS(authority, private_key=key, certificate_chain=authority)
        for tls, ready in ((identity, True), (TLS(authority), False), (None, False)):
            with SadTalkerClient(running.url("grpc"), tls=tls) as client:
                assert client.is_ready() == ready, tls

        asking = InferenceServerClient(
            running.url("grpc"),
            ssl=True,
            root_certificates=str(authority),
            private_key=str(key),
            certificate_chain=str(authority),
        )
        with pytest.raises(InferenceServerException, match="admin-key"):
            asking.get_inference_statistics("sadtalker")
        asking.get_inference_statistics("sadtalker", headers={"triton-grpc-protocol-admin-key": ADMIN_KEY})


def frames_in(video: bytes) -> int:
    with av.open(io.BytesIO(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(condition: Callable[[], bool], seconds: float, running: Running) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or running.process.poll() is not None:
            pytest.fail(f"it did not come to pass; the log ends with\n{running.log.read_text()[-3000:]}")
        time.sleep(0.1)

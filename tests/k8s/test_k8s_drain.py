"""The life of a pod of the `cpu` overlay, without a cluster: its arguments, its probes, its end."""

import io
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
import pytest
from k8s_manifests import find, pod_of, rendered_here
from sadtalker_client import Animation, SadTalkerClient, ServerUnavailableError

POD = pod_of(find(rendered_here()[("cpu",)], "Deployment"))
assert POD is not None
(CONTAINER,) = POD["containers"]


class Running(NamedTuple):
    process: subprocess.Popen[bytes]
    ports: dict[str, int]  # the container's port names, with the free ports that stand for their numbers
    log: Path

    def probe(self, name: str) -> int:
        """HTTP status of one of the container's probes; 0 when nothing answers."""
        get = CONTAINER[name]["httpGet"]
        try:
            url = f"http://127.0.0.1:{self.ports[get['port']]}{get['path']}"
            return urllib.request.urlopen(url, timeout=CONTAINER[name]["timeoutSeconds"]).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def pod(repository: Path, folder: Path) -> Iterator[Running]:
    """The container's command; only the repository's folder, the address and the port numbers are this machine's."""
    ports = {port["name"]: free_port() for port in CONTAINER["ports"]}
    here = {f"--{name}-port={number}": f"--{name}-port={ports[name]}" for name, number in numbers().items()}
    here |= {"--model-repository=/repository": f"--model-repository={repository}", "--host=0.0.0.0": "--host=127.0.0.1"}
    assert set(here) <= set(CONTAINER["args"])
    command = [Path(sysconfig.get_path("scripts"), "sadtalker-server")]  # the image's ENTRYPOINT
    arguments = [here.get(argument, argument) for argument in CONTAINER["args"]]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *arguments], stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield Running(process, ports, log)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def test_pod_starts_serves_and_drains(
    tiny_repository: Path, portrait_path: Path, short_speech: Path, tmp_path: Path
) -> None:
    with pod(tiny_repository, tmp_path) as running:
        wait_until(lambda: running.probe("startupProbe") == 200, 120, running)
        assert running.probe("livenessProbe") == running.probe("readinessProbe") == 200

        with SadTalkerClient(f"127.0.0.1:{running.ports['grpc']}", timeout=120) as client:
            animation = client.animate(portrait_path, short_speech)
            fragments = [next(animation)]
            running.process.send_signal(signal.SIGTERM)
            told_to_end = time.monotonic()
            assert 0 < fragments[0].frames_done < fragments[0].frames_total

            wait_until(lambda: refuses(client, portrait_path, short_speech), 20, running)
            assert running.process.poll() is None, "it ended during a video"
            fragments += animation

        assert fragments[-1].frames_done == fragments[-1].frames_total
        assert frames_in(b"".join(fragment.data for fragment in fragments)) == fragments[-1].frames_total
        assert running.process.wait(POD["terminationGracePeriodSeconds"]) == 0, running.log.read_text()[-2000:]
        assert time.monotonic() - told_to_end < POD["terminationGracePeriodSeconds"]
        assert running.probe("readinessProbe") == 0


def refuses(client: SadTalkerClient, portrait: Path, speech: Path) -> bool:
    animation: Animation = client.animate(portrait, speech)
    try:
        next(animation)
    except ServerUnavailableError:
        return True
    finally:
        animation.cancel()
    return False


def frames_in(video: bytes) -> int:
    with av.open(io.BytesIO(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def numbers() -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(condition: Callable[[], bool], seconds: float, running: Running) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline or running.process.poll() is not None:
            pytest.fail(f"it did not come to pass; the log ends with\n{running.log.read_text()[-3000:]}")
        time.sleep(0.1)

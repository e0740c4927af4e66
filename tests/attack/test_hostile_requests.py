"""Hostile requests to the real server: each gets its one error, named, and the next one is served."""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import hostile
import numpy as np
import psutil
import pytest
from raw_requests import refusal, send, text
from sadtalker_client import SadTalkerClient
from sadtalker_server import Server

MEGABYTE = 10**6
PLACES = 16  # videos_at_once


@pytest.fixture(scope="module")
def portrait(portrait_path: Path) -> np.ndarray:
    return text(portrait_path.read_bytes())


@pytest.fixture(scope="module")
def request_inputs(portrait: np.ndarray) -> dict[str, np.ndarray]:
    """Send a request that must be served."""
    return {"image": portrait, "audio": text(hostile.many_channels(1, 16_000, 0.2))}


@pytest.fixture(autouse=True)
def still_ready(tiny_server: Server) -> Iterator[None]:
    """Check that the server is ready after every attack."""
    yield
    assert urllib.request.urlopen(f"{tiny_server.http_url}/v2/health/ready").status == 200


def decoders(server: Server) -> list[psutil.Process]:
    """Return the decoder processes: those whose parent runs the same command, the server they were forked from."""
    children = psutil.Process(server.pid).children(recursive=True)
    servers = {child.pid for child in children if "forkserver" in " ".join(child.cmdline())}
    return [child for child in children if child.ppid() in servers]


def busiest(processes: Callable[[], list[psutil.Process]], seconds: float = 20) -> psutil.Process:
    """Return the process that begins to work."""
    before = {process: sum(process.cpu_times()[:2]) for process in processes()}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process in processes():
            if sum(process.cpu_times()[:2]) - before.get(process, 0.0) > 0.15:
                return process
        time.sleep(0.005)
    raise AssertionError("no decoder works")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (
            signal.SIGSEGV,
            "INVALID_ARGUMENT: audio: expected a file that decodes, got one that crashes its decoder (SIG",
        ),
        (signal.SIGKILL, "sadtalker failed: DecoderError('the decoder of audio ended (exit code -9)')"),
    ],
)
def test_a_decoder_that_dies_costs_one_request(
    tiny_server: Server, request_inputs: dict[str, np.ndarray], number: signal.Signals, message: str
) -> None:
    long = text(hostile.encoded_silence(590))
    with ThreadPoolExecutor() as pool:
        failing = pool.submit(refusal, tiny_server.grpc_url, "sadtalker", request_inputs | {"audio": long})
        os.kill(busiest(lambda: decoders(tiny_server)).pid, number)
        assert message in failing.result()
    assert len(send(tiny_server.grpc_url, "sadtalker", request_inputs)) == 1


def test_nine_channels_are_served(tiny_server: Server, portrait: np.ndarray) -> None:
    """They used to end the service."""
    inputs = {"image": portrait, "audio": text(hostile.many_channels(9, seconds=0.2))}
    assert len(send(tiny_server.grpc_url, "sadtalker", inputs)) == 1


KEY_FRAMES = {
    "beyond the video": [[0, 0], [1e20, 30]],
    "closer than a frame": [[0, 0], [1e-45, 30]],
    "at one time": [[0.1, 0], [0.1, 5]],
}


@pytest.mark.parametrize("case", KEY_FRAMES)
def test_key_frames(tiny_server: Server, request_inputs: dict[str, np.ndarray], case: str) -> None:
    yaw = np.array([KEY_FRAMES[case]], np.float32)
    message = refusal(tiny_server.grpc_url, "sadtalker", request_inputs | {"yaw": yaw})
    assert message.startswith("INVALID_ARGUMENT: yaw: expected ")


def test_texts_are_repeated_in_part(tiny_server: Server, request_inputs: dict[str, np.ndarray]) -> None:
    for name in ("crop", "enhance"):
        asked = request_inputs | {name: text(b"\xff\n\x1b[31m" + b"x" * 8 * MEGABYTE)}
        message = refusal(tiny_server.grpc_url, "sadtalker", asked)
        assert message.startswith(f"INVALID_ARGUMENT: {name}: expected ")
        assert len(message) < 250 and message.isprintable()


def test_portrait_crop_itself(tiny_server: Server, portrait: np.ndarray) -> None:
    def refused(inputs: dict[str, np.ndarray]) -> str:
        return refusal(tiny_server.grpc_url, "portrait_crop", inputs)

    message = refused({"image": portrait, "crop": text(b"\xff\xfe\x80")})
    assert message.startswith("INVALID_ARGUMENT: crop: expected crop, ")
    assert "image: expected" in refused({"crop": text(b"crop")})
    assert "image: expected at most 32 MB, got 33.0 MB" in refused({"image": text(bytes(33 * MEGABYTE))})


def test_a_request_without_a_picture(tiny_server: Server, request_inputs: dict[str, np.ndarray]) -> None:
    message = refusal(tiny_server.grpc_url, "sadtalker", {"audio": request_inputs["audio"]})
    assert "image: expected an encoded picture, got a request without this input" in message


def test_large_uploads_are_refused_and_released(tiny_server: Server, request_inputs: dict[str, np.ndarray]) -> None:
    stub = main_stub(tiny_server)

    def refuse(name: str, megabytes: int) -> None:
        asked = request_inputs | {name: text(bytes(megabytes * MEGABYTE))}
        most = {"image": 32, "audio": 128}[name]
        message = refusal(tiny_server.grpc_url, "sadtalker", asked)
        assert f"{name}: expected at most {most} MB, got {megabytes}.0 MB" in message

    refuse("image", 60)
    before = stub.memory_full_info().uss
    for _ in range(2):
        refuse("image", 60)
    refuse("audio", 129)
    assert stub.memory_full_info().uss - before < 60 * MEGABYTE


def main_stub(server: Server) -> psutil.Process:
    """Return the process of the model `sadtalker`: of those that have decoders, the one that keeps two."""
    counts: dict[psutil.Process, int] = {}
    for decoder in decoders(server):
        stub = decoder.parent().parent()
        counts[stub] = counts.get(stub, 0) + 1
    return max(counts, key=lambda stub: counts[stub])


def test_a_time_out_holds_while_every_place_is_busy(
    tiny_server: Server, portrait_path: Path, request_inputs: dict[str, np.ndarray], metric: Callable[..., float]
) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(SadTalkerClient(tiny_server.grpc_url))
        for _ in range(PLACES):
            stack.enter_context(client.animate(portrait_path, idle=60.0))
        wait_until(lambda: metric("sadtalker_videos_in_flight") == PLACES)
        start = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(refusal, tiny_server.grpc_url, "sadtalker", request_inputs, 0.5) for _ in range(4)]
            messages = [each.result() for each in asked]
        assert time.monotonic() - start < 25
        assert all("free within 0.5 s" in message or "timeout expired" in message for message in messages), messages
    wait_until(lambda: metric("sadtalker_videos_in_flight") == 0)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)

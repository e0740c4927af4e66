"""Hostile requests to the real server: each gets its one error, named, and the next one is served."""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import numpy as np
import psutil
import pytest
from raw_requests import refusal, send, text
from sadtalker_client import QueueFullError, SadTalkerClient
from sadtalker_server import Server
from tritonclient.grpc import InferenceServerClient, InferInput

MEGABYTE = 10**6
PLACES, MOST_WAITING = 16, 64  # videos_at_once, videos_waiting
PROMPT_SECONDS = 15.0  # for an answer that takes a second at most on a quiet machine; the videos before it take minutes


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
    stub, tritonserver = main_stub(tiny_server), psutil.Process(tiny_server.pid)

    def refuse(name: str, megabytes: int) -> None:
        asked = request_inputs | {name: text(bytes(megabytes * MEGABYTE))}
        most = {"image": 32, "audio": 128}[name]
        message = refusal(tiny_server.grpc_url, "sadtalker", asked)
        assert f"{name}: expected at most {most} MB, got {megabytes}.0 MB" in message

    refuse("image", 60)
    before = [process.memory_full_info().uss for process in (stub, tritonserver)]
    for _ in range(2):
        refuse("image", 60)
    refuse("audio", 129)
    after = [process.memory_full_info().uss for process in (stub, tritonserver)]
    assert max(after[0] - before[0], after[1] - before[1]) < 100 * MEGABYTE  # 249 were sent


def main_stub(server: Server) -> psutil.Process:
    """Return the process of the model `sadtalker`: of those that have decoders, the one that keeps two."""
    counts: dict[psutil.Process, int] = {}
    for decoder in decoders(server):
        stub = decoder.parent().parent()
        counts[stub] = counts.get(stub, 0) + 1
    return max(counts, key=lambda stub: counts[stub])


class Waiting:
    """Videos that nobody hurries: requests without a time-out, all in one stream."""

    def __init__(self, url: str, portrait: np.ndarray) -> None:
        self._client = InferenceServerClient(url)
        self._tensors = [InferInput("image", [1, 1], "BYTES"), InferInput("idle", [1, 1], "FP32")]
        self._tensors[0].set_data_from_numpy(portrait)
        self._tensors[1].set_data_from_numpy(np.array([[600]], np.float32))

    def __enter__(self) -> "Waiting":
        self._client.start_stream(lambda result, error: None)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.stop_stream(cancel_requests=True)
        self._client.close()

    def ask(self, videos: int) -> None:
        for _ in range(videos):
            self._client.async_stream_infer("sadtalker", self._tensors)


def test_the_line_of_waiting_videos(
    tiny_server: Server, portrait: np.ndarray, request_inputs: dict[str, np.ndarray], metric: Callable[..., float]
) -> None:
    """Time-outs hold behind requests without one, a full line refuses at once, and who leaves is taken out."""

    def refused(timeout: float) -> tuple[float, str]:
        start = time.monotonic()
        message = refusal(tiny_server.grpc_url, "sadtalker", request_inputs, timeout)
        return time.monotonic() - start, message

    def turned_away(reason: str) -> float:
        return metric("sadtalker_videos_turned_away_total", reason=reason)

    def wait_for(making: int, waiting: int) -> None:
        names = ("sadtalker_videos_in_flight", "sadtalker_videos_waiting")
        wait_until(lambda: [metric(name) for name in names] == [making, waiting])

    wait_for(0, 0)  # the end of earlier tests' videos
    before = {reason: turned_away(reason) for reason in ("timeout", "full", "cancelled")}
    with Waiting(tiny_server.grpc_url, portrait) as line:
        line.ask(PLACES + 4)
        wait_for(PLACES, 4)
        with ThreadPoolExecutor(4) as pool:
            for seconds, message in pool.map(refused, [0.5] * 4):
                assert message == "UNAVAILABLE: no place for this video became free within 0.5 s"
                assert 0.5 <= seconds < PROMPT_SECONDS
        line.ask(MOST_WAITING - 4)
        wait_for(PLACES, MOST_WAITING)
        seconds, message = refused(60)
        assert message.startswith("UNAVAILABLE: Exceeds maximum queue size: 16 videos are being made and 64 wait")
        assert seconds < PROMPT_SECONDS
        with SadTalkerClient(tiny_server.grpc_url) as client, pytest.raises(QueueFullError):
            client.animate(portrait.item(), idle=2.0).read()
    wait_for(0, 0)
    changes = {reason: turned_away(reason) - count for reason, count in before.items()}
    assert changes["timeout"] == 4 and changes["full"] == 2
    assert changes["cancelled"] >= MOST_WAITING - PLACES  # some got a place for the instant until they were cancelled


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)

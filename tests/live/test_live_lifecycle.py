"""How sessions end that nobody ends: a caller that falls silent, a server that is told to stop.

On a server of its own with a short idle time-out; the last test stops it.
"""

import asyncio
import shutil
import threading
import time
import urllib.request
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest
from sadtalker_client import AsyncSadTalkerClient, LiveFrame, SadTalkerError, ServerUnavailableError, _live
from sadtalker_client import _live_wire as wire
from sadtalker_client._files import UploadLimits
from sadtalker_server import LaunchError, Server
from sadtalker_server._orders import Videos
from tritonclient.grpc import service_pb2_grpc

RATE = 16_000
IDLE_SECONDS = 5
EXIT_SECONDS = 60
PATIENCE = 60.0  # for what takes a few seconds on a quiet machine


@pytest.fixture(scope="module")
def running(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, ExitStack]]:
    """Run a server; give it and what stops it."""
    folder = tmp_path_factory.mktemp("lifecycle")
    repository = folder / "model_repository"
    shutil.copytree(tiny_repository, repository, symlinks=True)
    config = repository / "sadtalker_live" / "config.pbtxt"
    limit = 'key: "idle_seconds" value: {{ string_value: "{}" }}'
    assert limit.format(30) in config.read_text()
    config.write_text(config.read_text().replace(limit.format(30), limit.format(IDLE_SECONDS)))
    with ExitStack() as stack:
        server = Server(
            repository, tritonserver="embedded", exit_timeout_secs=EXIT_SECONDS, log_file=folder / "server.log"
        )
        yield stack.enter_context(server), stack


def sessions(server: Server, outcome: str) -> float:
    """Return how many sessions have ended in this way."""
    with urllib.request.urlopen(server.metrics_url, timeout=PATIENCE) as page:
        lines = page.read().decode().splitlines()
    name = f'sadtalker_live_sessions_total{{outcome="{outcome}"'
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_a_caller_that_neither_speaks_nor_reads_is_forgotten(running, portrait_path):
    server, _ = running
    before, left = sessions(server, "idle"), threading.Event()
    start = wire.start_request(wire.new_session(), portrait_path, {"pace": "realtime"}, UploadLimits())

    def sent():
        yield start
        left.wait(3 * PATIENCE)

    with grpc.insecure_channel(server.grpc_url) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(sent())
        deadline = time.monotonic() + PATIENCE
        while sessions(server, "idle") == before:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        reader, frames, failure = wire.FrameReader(server.grpc_url), 0, ""
        try:
            while not reader.ended:
                frames += reader.feed(next(call)) is not None
        except SadTalkerError as error:
            failure = str(error)
        left.set()
    assert "caller was not heard of for" in failure
    assert frames <= 50  # what may be sent before the caller says that it received any


def test_a_server_that_stops_lets_sessions_end_and_cuts_those_that_do_not(running, portrait_path, monkeypatch):
    monkeypatch.setattr(_live, "KEEPALIVE_SECONDS", 0.5)  # for the short time-out
    server, stack = running
    with wave.open(str(Path(__file__).parents[2] / "examples" / "speech.wav")) as file:
        speech = np.frombuffer(file.readframes(6_400), np.int16)
    begun, refused, ended = threading.Barrier(3), threading.Event(), threading.Event()
    drain = Videos.drain

    class WhenEnded(float):
        """A deadline that passes when the session that ends by itself has ended, however slow the machine is."""

        def __lt__(self, now: float) -> bool:
            return ended.is_set() or super().__lt__(now)

    monkeypatch.setattr(Videos, "drain", lambda self, deadline, broken: drain(self, WhenEnded(deadline), broken))

    async def polite() -> list[LiveFrame]:
        async with AsyncSadTalkerClient(server.grpc_url) as client, client.live(portrait_path, pace="fast") as session:
            await session.speak(speech, RATE)
            frames = [await anext(session)]
            await asyncio.to_thread(begun.wait, PATIENCE)
            assert await asyncio.to_thread(refused.wait, PATIENCE)
            await session.speak(speech, RATE)  # a session that goes on is still listened to
            await session.end()
            frames += [frame async for frame in session]
            ended.set()
            return frames

    async def endless() -> int:
        async with AsyncSadTalkerClient(server.grpc_url) as client, client.live(portrait_path, idle=False) as session:
            await anext(session)
            await asyncio.to_thread(begun.wait, PATIENCE)
            try:
                async for frame in session:
                    index = frame.index
            except ServerUnavailableError as error:
                assert "the server is stopping" in str(error)
                return index
        raise AssertionError("the session ended by itself")

    async def late() -> None:
        """Try to begin a session until the server refuses it."""
        deadline = time.monotonic() + PATIENCE
        async with AsyncSadTalkerClient(server.grpc_url) as client:
            while time.monotonic() < deadline:
                try:
                    async with client.live(portrait_path, idle=False) as session:
                        await anext(session)
                except ServerUnavailableError as error:
                    assert "the server is stopping" in str(error)
                    refused.set()
                    return

    with ThreadPoolExecutor() as pool:
        talks = [pool.submit(asyncio.run, talk()) for talk in (polite, endless)]
        begun.wait(PATIENCE)
        trying = pool.submit(asyncio.run, late())
        with pytest.raises(LaunchError, match=f"tritonserver did not drain within {EXIT_SECONDS} s"):
            stack.close()
        assert trying.result() is None and refused.is_set()
        frames, last = (talk.result(PATIENCE) for talk in talks)
    assert len(frames) == 20 and frames[-1].ends
    assert last > 0  # it went on while the server waited

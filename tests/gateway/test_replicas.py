"""Several replicas over one store: any answers for any video, and one that dies loses nothing that was finished."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest
from sadtalker_gateway import Settings
from sadtalker_gateway.retention import sweep
from sadtalker_gateway.storage import Storage
from served import until
from talking_triton import FACE, talking_video


def test_any_replica_answers_for_any_video(serve, triton):
    triton.pace = 0.4
    one, other = serve(), serve()
    video = one.http.post("/v1/videos", data={"idle": "2"}, files={"portrait": FACE}).json()
    assert other.http.get(f"/v1/videos/{video['id']}").json()["status"] in ("queued", "in_progress")
    start = time.monotonic()
    with other.http.stream("GET", f"/v1/videos/{video['id']}/content") as answer:
        arrivals = [(time.monotonic() - start, piece) for piece in answer.iter_bytes()]
    assert b"".join(piece for _, piece in arrivals) == talking_video(50)
    assert arrivals[0][0] < arrivals[-1][0] - 1  # it grew
    assert other.finished(video)["status"] == "completed"
    assert other.http.get(f"/v1/videos/{video['id']}/content").content == talking_video(50)
    portrait = one.portrait()
    assert other.http.get(f"/v1/portraits/{portrait}/poster").status_code == 200


def test_any_replica_stops_any_video(serve, triton):
    triton.pace = 0.3
    one, other = serve(heartbeat_seconds=0.5), serve()
    video = one.http.post("/v1/videos", data={"idle": "20"}, files={"portrait": FACE}).json()
    until(lambda: other.http.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    assert other.http.delete(f"/v1/videos/{video['id']}").status_code == 200
    assert triton.cancelled.wait(10)
    for gateway in (one, other):
        until(lambda gateway=gateway: gateway.http.get(f"/v1/videos/{video['id']}").status_code == 404)


def test_stopping_a_gateway_ends_its_videos_as_interrupted(serve, triton):
    triton.pace = 0.3
    one, other = serve(), serve()
    video = one.http.post("/v1/videos", data={"idle": "20"}, files={"portrait": FACE}).json()
    until(lambda: other.http.get(f"/v1/videos/{video['id']}").json()["progress"] > 0)
    one.stop()
    found = other.http.get(f"/v1/videos/{video['id']}").json()
    assert (found["status"], found["error"]["code"]) == ("failed", "interrupted")
    assert triton.cancelled.wait(10)


@pytest.fixture
def process(triton, tmp_path):
    """Start gateways as processes of their own."""
    running = []

    def start() -> tuple[subprocess.Popen, httpx.Client]:
        store = f"file://{tmp_path}/store"
        command = [sys.executable, "-m", "sadtalker_gateway.cli", "--triton-url", triton.url, "--port", "0"]
        environment = {**os.environ, "SADTALKER_GATEWAY_STORE": store, "SADTALKER_GATEWAY_HEARTBEAT_SECONDS": "0.5"}
        gateway = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        running.append(gateway)
        line = gateway.stdout.readline()
        return gateway, httpx.Client(base_url=line.split()[1], timeout=20)

    yield start
    for gateway in running:
        gateway.kill()
        gateway.wait()


def test_a_replica_that_is_killed_loses_no_finished_video(process, serve, triton):
    killed, http = process()
    with http:
        until(lambda: http.get("/healthz").status_code == 200)
        finished = http.post("/v1/videos", data={"idle": "1"}, files={"portrait": FACE}).json()
        until(lambda: http.get(f"/v1/videos/{finished['id']}").json()["status"] == "completed")
        triton.pace = 0.3
        lost = http.post("/v1/videos", data={"idle": "20"}, files={"portrait": FACE}).json()
        until(lambda: http.get(f"/v1/videos/{lost['id']}").json()["progress"] > 0)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    survivor = serve(heartbeat_seconds=0.5)
    assert survivor.http.get(f"/v1/videos/{finished['id']}/content").content == talking_video(25)
    until(lambda: survivor.http.get(f"/v1/videos/{lost['id']}").json()["status"] == "failed")
    error = survivor.http.get(f"/v1/videos/{lost['id']}").json()["error"]
    assert error == {"code": "interrupted", "message": "the gateway stopped while it made this video"}
    assert triton.cancelled.wait(10)
    assert survivor.http.delete(f"/v1/videos/{lost['id']}").status_code == 200


def test_an_interruption_is_told_within_a_minute():
    assert Settings().interrupted_after_seconds + Settings().heartbeat_seconds < 60


async def everything(storage: Storage) -> set[str]:
    return {entry.name async for entry in storage.list("")}


def test_what_is_too_old_is_deleted(tmp_path):
    async def scenario() -> None:
        storage = Storage(f"file://{tmp_path}")
        for name in ("o/videos/old/state.json", "o/videos/old/content.mp4", "o/videos/new/parts/000000"):
            await storage.put(name, b"x")
        old = time.time() - 100_000
        os.utime(tmp_path / "o/videos/old/content.mp4", (old, old))
        assert await sweep(storage, 90_000) == 0  # its newest object is new
        os.utime(tmp_path / "o/videos/old/state.json", (old, old))
        assert await sweep(storage, 90_000) == 2
        assert await everything(storage) == {"o/videos/new/parts/000000"}
        os.utime(tmp_path / "o/videos/new/parts/000000", (time.time() - 4000,) * 2)
        assert await sweep(storage, 90_000) == 1  # nobody reads parts after an hour

    asyncio.run(scenario())

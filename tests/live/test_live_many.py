"""Several live sessions at once on the real server: shared executions, the limit, sessions that are left."""

import asyncio
import subprocess
import sys
import time

import psutil
import pytest
from live_frames import RATE, frames_of, wait_until
from sadtalker_client import (
    AsyncSadTalkerClient,
    ServerUnavailableError,
)


def test_four_sessions_share_executions_of_the_renderer(tiny_server, portrait_path, speech, metric):
    def executions() -> tuple[float, float]:
        return (
            metric("nv_inference_exec_count", model="face_renderer"),
            metric("nv_inference_request_success", model="face_renderer"),
        )

    before = executions()

    async def talk(client: AsyncSadTalkerClient) -> int:
        async with client.live(portrait_path, pace="fast", look_ahead=0) as session:
            await session.speak(speech, RATE)
            await session.end()
            return len(await frames_of(session))

    async def main() -> list[int]:
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client:
            return await asyncio.gather(*(talk(client) for _ in range(4)))

    assert asyncio.run(main()) == [22] * 4
    runs, requests = (after - first for after, first in zip(executions(), before, strict=True))
    assert requests >= 4 * 5  # and what the rest of other tests' faces still needs
    assert runs < requests


def test_a_killed_client_s_session_is_gone(tiny_server, portrait_path, metric):
    script = f"""
import sys, time
from sadtalker_client import SadTalkerClient
with SadTalkerClient({tiny_server.grpc_url!r}) as client, client.live({str(portrait_path)!r}) as session:
    next(session)
    print("begun", flush=True)
    for frame in session: pass
"""
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"begun\n"
    wait_until(lambda: metric("sadtalker_live_sessions") == 1)
    client.kill()
    client.wait()
    client.stdout.close()
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)


def test_more_sessions_than_allowed_are_refused_at_once(tiny_server, portrait_path, metric):
    async def main() -> None:
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client:
            sessions = [client.live(portrait_path, pace="fast") for _ in range(16)]
            for session in sessions:
                await session.__aenter__()
            while metric("sadtalker_live_sessions") < 16:
                await asyncio.sleep(0.1)
            with pytest.raises(ServerUnavailableError, match="16 sessions go on"):
                async with client.live(portrait_path) as one_more:
                    await frames_of(one_more)
            for session in sessions:
                await session.__aexit__()

    asyncio.run(main())
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)


def test_a_hundred_sessions_opened_and_dropped_leave_nothing(tiny_server, portrait_path, speech, metric):
    def memory() -> int:
        server = psutil.Process(tiny_server.pid)
        # Private memory: what they share is touched piece by piece for a long time.
        return sum(process.memory_full_info().uss for process in [server, *server.children(recursive=True)])

    async def drop(sessions: int) -> None:
        async with AsyncSadTalkerClient(tiny_server.grpc_url) as client:
            for _ in range(sessions):
                async with client.live(portrait_path, pace="fast", look_ahead="full") as session:
                    await session.speak(speech, RATE)  # not enough to be shown
                    begun = time.monotonic()
                    while metric("sadtalker_live_sessions") == 0 and time.monotonic() - begun < 5:
                        await asyncio.sleep(0.02)
                while metric("sadtalker_live_sessions") > 8:
                    await asyncio.sleep(0.05)

    asyncio.run(drop(60))  # threads, and what malloc keeps for each, come with the first sessions
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)
    before = memory()
    asyncio.run(drop(100))
    wait_until(lambda: metric("sadtalker_live_sessions") == 0)
    assert memory() - before < 100 * 2**20  # seen: 50, less the longer the server runs

"""Fixtures of tests with live sessions on the real server."""

import asyncio
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path

import numpy as np
import pytest
from sadtalker_client import (
    AsyncLiveSession,
    AsyncSadTalkerClient,
)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Return 0.9 s of speech, int16."""
    with wave.open(str(Path(__file__).parents[2] / "examples" / "speech.wav")) as file:
        return np.frombuffer(file.readframes(14_400), np.int16)


@pytest.fixture
def conversation(tiny_server, portrait_path) -> Callable:
    """Run a coroutine with a session."""

    def run(talk: Callable[[AsyncLiveSession], Coroutine], **options: object):
        async def main():
            async with (
                AsyncSadTalkerClient(tiny_server.grpc_url) as client,
                client.live(portrait_path, **options) as session,
            ):
                return await asyncio.wait_for(talk(session), 100)

        return asyncio.run(main())

    return run

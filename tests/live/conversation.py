"""Conversations for tests: a live session over fake models in virtual time, and what is said in it."""

import asyncio
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, nullcontext
from pathlib import Path

import numpy as np
from fake_models import Models
from sadtalker_runtime.animation.animator import Animator
from sadtalker_runtime.live.face import Face, NoDecoders
from sadtalker_runtime.live.frames import Frame, Limits
from sadtalker_runtime.live.idle import RestCache
from sadtalker_runtime.live.options import LiveOptions
from sadtalker_runtime.live.session import LiveSession
from sadtalker_runtime.options import Options
from virtual_time import clock, run

LIMITS = Limits(600, 300, 30, 10**9, 3)
LOOP = 50  # frames


def spoken(seconds: float, rate: int = 16_000) -> np.ndarray:
    """Return int16 samples of the example speech."""
    with wave.open(str(Path(__file__).parents[2] / "examples" / "speech.wav")) as file:
        assert file.getframerate() == 16_000
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return np.resize(samples, round(seconds * rate))


class Silent:
    """An observer that does not listen."""

    def stage(self, name: str):
        return nullcontext()

    def portrait_lookup(self, hit: bool) -> None: ...

    def frames_rendered(self, frames: int) -> None: ...


class Conversation:
    """A session over fake models, within a running virtual loop."""

    def __init__(self, models: Models, limits: Limits = LIMITS, options: Options | None = None, **asked: object):
        self.models, self.gone = models, False
        self.options, self.live = options or Options(), LiveOptions(**asked)
        self.session = LiveSession(self.live, limits, clock)
        self.times: list[float] = []
        self.shown: list[Frame] = []
        self.interrupted = 0.0
        """The time at which `interrupt` was last called."""

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the session's frames and note their times."""
        animator = Animator(self.models.call, lambda model: True, Silent(), NoDecoders(), 4, 600, 3, 4)
        face = Face(self.models.call, await animator.portrait(b"portrait", self.options), self.options, clock)
        rest = await RestCache(LOOP, 4).get(face, self.live.pace == "realtime" and self.live.idle)
        await asyncio.sleep(0.1)  # until the loop is complete
        async with aclosing(self.session.frames(face, rest, lambda: self.gone)) as frames:
            async for frame in frames:
                self.times.append(clock())
                yield frame

    async def take(self, most: int | None = None) -> list[Frame]:
        """Receive frames until the session ends, or `most` of them; return those, which are also kept in `shown`."""
        async with aclosing(self.frames()) as frames:
            async for frame in frames:
                self.shown.append(frame)
                self.session.received(len(self.shown))
                if len(self.shown) == most:
                    break
        return self.shown

    def interrupt(self) -> None:
        """Interrupt the session, and note when."""
        self.interrupted = clock()
        self.session.interrupt()


def converse(
    speak: Callable[[Conversation], Awaitable[None]], models: Models, most: int | None = None, **arguments
) -> Conversation:
    """Hold a conversation in virtual time: `speak` acts as the caller while frames are received.

    `arguments` are further ones of `Conversation`.
    """

    async def hold() -> Conversation:
        talk = Conversation(models, **arguments)
        speaking = asyncio.create_task(speak(talk))
        await talk.take(most)
        await speaking
        return talk

    return run(hold())


async def stream(session: LiveSession, samples: np.ndarray, rate: int, piece: float, speed: float = 1.0) -> None:
    """Speak in pieces, as they would come from a microphone."""
    size = round(piece * rate)
    for at in range(0, len(samples), size):
        session.speak(samples[at : at + size], rate)
        await asyncio.sleep(len(samples[at : at + size]) / rate / speed)

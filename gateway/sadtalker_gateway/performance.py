"""One continuous video of a text: sentences are synthesised ahead, animated in turn and joined.

The first sentence's frames leave while later ones are still text. The next sentence's animation begins when the
present one has a second of video left to make: early enough that the server never idles, late enough that the picture
being watched has the server to itself.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from sadtalker_client import AsyncAnimation, AsyncSadTalkerClient, Fragment, InvalidInputError

from .fmp4 import FragmentJoiner
from .options import known_to_client
from .speech import Synthesizer, Utterance
from .speech.wav import fit_to_frames

LEAD_FRAMES = 25  # left to make when the next sentence is begun
SENTENCES_AHEAD = 8  # spoken before they are animated, at most
SETTLE_SECONDS = 0.6  # in which the head leaves its rest at a sentence's beginning and returns to it at its end
MAX_SEED = 2**63 - 1

Sentences = Callable[[], AsyncIterator[str]]


@dataclass(frozen=True)
class Performance:
    """The picture that is to be seen.

    `speech` is a recording, `sentences` begins to give text; with neither, the options `driving` or `idle` move the
    portrait.
    """

    portrait: bytes
    options: dict[str, Any]
    speech: bytes | None = None
    sentences: Sentences | None = None
    voice: str | None = None
    language: str | None = None
    speed: float = 1.0
    on_sentence: Callable[[str], None] = field(default=lambda sentence: None)
    """A function that is called with each sentence when its video begins."""


@dataclass(frozen=True)
class Piece:
    """The next bytes of the video, and what is known of all of it up to here.

    `seconds` is its length; `progress`, from 0 to 1, is an estimate while further sentences are still being written;
    `size` is width and height in pixels.
    """

    data: bytes
    seconds: float
    progress: float
    size: tuple[int, int] | None


class Performer:
    """Makes videos of performances.

    Args:
        client: of the SadTalker server.
        synthesizer: speaks the sentences.
        served_options: gives the option names that the server's model takes; asked once it is needed.
        parallel: sentences of one text that are synthesised at the same time.
    """

    def __init__(
        self,
        client: AsyncSadTalkerClient,
        synthesizer: Synthesizer,
        served_options: Callable[[], Any],
        parallel: int = 4,
    ) -> None:
        self._client = client
        self._synthesizer = synthesizer
        self._served_options = served_options
        self._parallel = parallel

    async def perform(self, performance: Performance) -> AsyncGenerator[Piece, None]:
        """Yield the video. Closing the generator, or cancelling the task that iterates it, stops all work for it.

        Raises:
            SadTalkerError: the server's.
            SpeechError: a sentence could not be spoken.
            InvalidInputError: nothing to say.
        """
        joiner = FragmentJoiner()
        if performance.sentences is None:
            animation = self._client.animate(performance.portrait, performance.speech, **performance.options)
            async with animation:
                async for fragment in animation:
                    yield _piece(joiner, fragment, fragment.progress)
            return
        sentences = 0
        async with _Renderings(self, performance) as renderings:
            while rendering := await renderings.next():
                performance.on_sentence(rendering.text)
                while part := await rendering.next():
                    if part.frames_total - part.frames_done <= LEAD_FRAMES:
                        renderings.prepare_next()
                    yield _piece(joiner, part, (sentences + part.progress) / renderings.known)
                joiner.end_video()
                sentences += 1
        if not sentences:
            raise InvalidInputError("text: expected something to say, got nothing that can be spoken")

    async def speak(self, performance: Performance, sentence: str) -> bytes:
        """Return a sentence of a performance as a recording that lasts a whole number of steps of frames."""
        utterance = Utterance(sentence, performance.voice, performance.language, performance.speed)
        return fit_to_frames(await self._synthesizer.synthesize(utterance))

    async def animate(self, performance: Performance, recording: bytes, index: int) -> AsyncAnimation:
        """Return the animation of sentence number `index`."""
        options = dict(performance.options)
        seed = options.get("seed")
        if seed is not None and 0 <= seed <= MAX_SEED - index:  # not the same blinks in every sentence
            options["seed"] = seed + index
        if "settle" not in options and known_to_client("settle") and "settle" in await self._served_options():
            options["settle"] = SETTLE_SECONDS
        return self._client.animate(performance.portrait, recording, **options)

    @property
    def parallel(self) -> int:
        """Sentences of one text that are synthesised at the same time."""
        return self._parallel


def _piece(joiner: FragmentJoiner, fragment: Fragment, progress: float) -> Piece:
    return Piece(joiner.feed(fragment.data), joiner.seconds, progress, joiner.size)


class _Renderings:
    """The renderings of a performance's sentences, in order; leaving the block ends everything under way."""

    def __init__(self, performer: Performer, performance: Performance) -> None:
        self._performer = performer
        self._performance = performance
        self._spoken: asyncio.Queue[tuple[str, asyncio.Task[bytes]] | Exception | None]
        self._spoken = asyncio.Queue(SENTENCES_AHEAD)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._next: asyncio.Task[_Rendering | None] | None = None
        self._count = 0
        self.known = 0  # sentences known so far

    async def __aenter__(self) -> "_Renderings":
        self._start(self._speak_ahead())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def prepare_next(self) -> None:
        """Begin the next rendering now, if there is a next sentence."""
        if self._next is None:
            self._next = self._start(self._prepare())

    async def next(self) -> "_Rendering | None":
        """Return the next rendering, None after the last."""
        self.prepare_next()
        assert self._next is not None
        task, self._next = self._next, None
        return await task

    async def _prepare(self) -> "_Rendering | None":
        entry = await self._spoken.get()
        if entry is None:
            return None
        if isinstance(entry, Exception):
            raise entry
        sentence, recording = entry
        animation = await self._performer.animate(self._performance, await recording, self._count)
        self._count += 1
        rendering = _Rendering(sentence)
        self._start(rendering.pump(animation))
        return rendering

    async def _speak_ahead(self) -> None:
        limit = asyncio.Semaphore(self._performer.parallel)

        async def speak(sentence: str) -> bytes:
            async with limit:
                return await self._performer.speak(self._performance, sentence)

        assert self._performance.sentences is not None
        try:
            async for sentence in self._performance.sentences():
                self.known += 1
                await self._spoken.put((sentence, self._start(speak(sentence))))
        except Exception as error:
            await self._spoken.put(error)
        else:
            await self._spoken.put(None)

    def _start(self, work: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task


class _Rendering:
    """One sentence's fragments, collected while those of the sentence before are still being sent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._fragments: asyncio.Queue[Fragment | Exception | None] = asyncio.Queue()

    async def pump(self, animation: AsyncAnimation) -> None:
        """Collect the animation's fragments to its end."""
        try:
            async with animation:
                async for fragment in animation:
                    self._fragments.put_nowait(fragment)
        except Exception as error:
            self._fragments.put_nowait(error)
        else:
            self._fragments.put_nowait(None)

    async def next(self) -> Fragment | None:
        """Return the next fragment, None after the last; raise the error that ended the animation."""
        entry = await self._fragments.get()
        if isinstance(entry, Exception):
            raise entry
        return entry

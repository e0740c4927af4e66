"""Chunks of frames that are planned and not yet shown, and the rendering of their pictures."""

import asyncio
from collections import deque
from collections.abc import Callable

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.live.face import Face
from sadtalker_runtime.live.frames import NOTHING, Chunk, Frame, Split

LATE = 2.0  # seconds after a late picture in which chunks are rendered one at a time, lest all be late


class ChunkQueue:
    """Chunks in the order of their frames; of the first, some frames may be shown already.

    Args:
        clock: seconds.
        work: set when there may be something to plan.
        news: set when there may be something to show.
    """

    def __init__(self, clock: Callable[[], float], work: asyncio.Event, news: asyncio.Event) -> None:
        self._clock = clock
        self._work, self._news = work, news
        self._chunks: deque[Chunk] = deque()
        self._rendering: set[asyncio.Task[Array]] = set()
        self._late_at = -LATE
        self.picture: Array
        """The latest picture that can be shown, set before the first frame: uint8 [side, side, 3]."""
        self.shown = 0
        """Frames taken so far."""
        self.generation = 0
        """Number of interruptions so far: work begun before one is useless after it."""

    def __bool__(self) -> bool:
        return bool(self._chunks)

    @property
    def waiting(self) -> int:
        """Frames that are planned and not yet shown."""
        return sum(chunk.frames - chunk.shown for chunk in self._chunks)

    @property
    def speaks(self) -> bool:
        """Whether any of them belongs to an utterance."""
        return any(chunk.utterance != NOTHING for chunk in self._chunks)

    def notify(self) -> None:
        """Wake both coroutines: something was said or has changed."""
        self._work.set()
        self._news.set()

    def first_is_rendered(self) -> bool:
        """Return whether there are pictures for the first chunk; raises what its rendering raised."""
        chunk = self._chunks[0]
        if chunk.rendering is not None and chunk.rendering.done():
            chunk.pictures, chunk.rendering = chunk.rendering.result(), None
        return chunk.pictures is not None

    def first_is_being_rendered(self) -> bool:
        """Return whether there will be pictures for the first chunk, but there are none yet."""
        return self._chunks[0].rendering is not None and not self.first_is_rendered()

    def is_busy(self, most: int) -> bool:
        """Return whether `most` chunks are being rendered, or one while pictures are late."""
        late = self._clock() - self._late_at < LATE
        return len(self._rendering) >= (1 if late else most)

    def render(self, face: Face, windows: Array, frames: int) -> "asyncio.Task[Array]":
        """Begin to render the pictures of a chunk."""
        task = asyncio.create_task(face.render(windows, frames))
        self._rendering.add(task)
        task.add_done_callback(self._rendered)
        return task

    def put(self, chunk: Chunk) -> None:
        """Append a chunk, which was planned now."""
        begun, generation = self._clock(), self.generation

        def rendered(task: "asyncio.Task[Array]") -> None:
            chunk.compute = self._clock() - begun
            passed_by = chunk.shown == chunk.frames and generation == self.generation
            if passed_by and not task.cancelled() and task.exception() is None:
                self.picture = task.result()[-1]  # late, but better than an older one

        if chunk.rendering is not None:
            chunk.rendering.add_done_callback(rendered)
        self._chunks.append(chunk)
        self._news.set()

    def take(self, index: int, late: bool) -> Frame:
        """Return the first chunk's next frame, as the session's frame `index`; `late`: with the picture before."""
        chunk = self._chunks[0]
        at = chunk.shown
        if late:
            self._late_at = self._clock()
        if chunk.pictures is not None:
            self.picture = chunk.pictures[at]
        chunk.shown += 1
        self.shown += 1
        ends = chunk.ends and chunk.shown == chunk.frames
        split = None
        if chunk.utterance != NOTHING:
            waited = self._clock() - chunk.arrivals[at]
            look_ahead = min(max(chunk.ready - chunk.arrivals[at], 0.0), waited)
            compute = min(chunk.compute, waited - look_ahead)
            split = Split(look_ahead, waited - look_ahead - compute, compute)
        if chunk.shown == chunk.frames:
            self._chunks.popleft()
        self._work.set()
        return Frame(self.picture, chunk.sound[at], index, chunk.utterance, ends, late, split)

    def drop(self) -> None:
        """Drop all chunks."""
        for chunk in self._chunks:
            if chunk.rendering is not None:
                chunk.rendering.cancel()
        self._chunks.clear()

    def close(self) -> None:
        """Drop all chunks and stop rendering."""
        self.drop()
        for task in self._rendering:
            task.cancel()

    def _rendered(self, task: "asyncio.Task[Array]") -> None:
        self._rendering.discard(task)
        if not task.cancelled():
            task.exception()  # raised where its pictures are awaited, and of no interest where they are not
        self.notify()

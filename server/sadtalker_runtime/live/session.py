"""One conversation: takes speech and controls as they come, gives frames as they are due.

Two coroutines share a queue of chunks: one has the planner decide what the next frames show and has them rendered;
`frames` takes them out, at their time or as soon as they are there. What is planned but not shown can be taken back
(`interrupt`).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import numpy as np

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.live.backlog import Backlog
from sadtalker_runtime.live.chunks import ChunkQueue
from sadtalker_runtime.live.face import Face, Rest
from sadtalker_runtime.live.frames import NOTHING, CallerGoneError, Frame, Limits, SessionIdleError
from sadtalker_runtime.live.options import LiveOptions
from sadtalker_runtime.live.planning import Planner
from sadtalker_runtime.live.utterance import SOUND_PER_FRAME
from sadtalker_runtime.timing import FRAME_RATE

BEHIND = 1.0  # seconds; a session that falls further behind drops the lost time
TICK = 1.0  # seconds between two checks whether the caller is still there


class LiveSession:
    """A live session: takes speech from its creation on, and shows its first frame once `frames` is given a face.

    Args:
        options: of the session.
        limits: of the resources that it uses.
        clock: seconds.
    """

    def __init__(self, options: LiveOptions, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self._limits = limits
        self._clock = clock
        self._realtime = options.pace == "realtime"
        self._ending = False
        self._heard_at = clock()
        self._sent = self._received = 0
        self._stalled = False
        self._work, self._news = asyncio.Event(), asyncio.Event()
        self._backlog = Backlog(limits)
        self._queue = ChunkQueue(clock, self._work, self._news)
        self._planner = Planner(options, limits, clock, self._backlog, self._queue)

    def speak(self, samples: Array, rate: int) -> None:
        """Take a piece of speech: int16 or float32 [n], at `rate` Hz, at least 10 ms.

        Raises:
            InputError: it cannot be used, or more is waiting to be shown than may be.
        """
        now = self._touch()
        if self._ending:
            raise InputError("speech: expected before the end, got it afterwards")
        self._backlog.speak(samples, rate, now)
        self._queue.notify()

    def flush(self) -> None:
        """Mark the speech so far as a complete utterance."""
        self._backlog.flush(self._touch())
        self._queue.notify()

    def interrupt(self) -> None:
        """Drop all speech that is not shown yet, and return to rest."""
        self._touch()
        self._planner.interrupt()
        self._queue.notify()

    def end(self) -> None:
        """Show all speech received so far, then end."""
        self.flush()
        self._ending = True
        self._queue.notify()

    def received(self, frames: int) -> None:
        """Note how many frames the caller has received in all.

        Raises:
            InputError: more than were sent, or fewer than before.
        """
        self._touch()
        if not self._received <= frames <= self._sent:
            raise InputError(f"received: expected {self._received} to {self._sent} frames, got {frames}")
        self._received = frames
        self._queue.notify()

    async def frames(self, face: Face, rest: Rest, gone: Callable[[], bool]) -> AsyncGenerator[Frame, None]:
        """Yield the session's frames until its end. Close it to stop the work.

        Args:
            gone: returns whether the caller has left.

        Raises:
            SessionIdleError: no request came for too long.
            CallerGoneError: the caller has left; noticed within a second.
            Exception: what the face's models raise.
        """
        self._gone = gone
        self._planner.begin(face, rest)
        self._queue.picture = rest.picture(0)
        producing = asyncio.create_task(self._produce())
        producing.add_done_callback(lambda _: self._queue.notify())
        try:
            begun, index = self._clock(), 0
            while True:
                begun += await self._caller_keeps_up(producing)
                if self._realtime:
                    due = begun + index / FRAME_RATE
                    await asyncio.sleep(max(due - self._clock(), 0))
                    if (behind := self._clock() - due) > BEHIND:
                        begun += behind
                self._check(producing)
                if self._ending and not self._backlog and not self._queue.speaks:
                    return
                frame = self._due(index) if self._realtime else await self._known(index)
                if frame is None:
                    continue
                self._sent += 1
                yield frame
                index += 1
        finally:
            producing.cancel()
            self._queue.close()
            await asyncio.gather(producing, return_exceptions=True)

    def _touch(self) -> float:
        self._heard_at = self._clock()
        return self._heard_at

    async def _produce(self) -> None:
        while True:
            if not await self._planner.plan():
                await _wait(self._work)

    def _check(self, producing: "asyncio.Task[None]") -> None:
        if producing.done():
            producing.result()
        if self._gone():
            raise CallerGoneError("cancelled by the caller")
        if (silent := self._clock() - self._heard_at) > self._limits.idle_seconds:
            raise SessionIdleError(f"the session's caller was not heard of for {silent:.0f} s")

    async def _caller_keeps_up(self, producing: "asyncio.Task[None]") -> float:
        """Wait until the caller has received enough of what was sent; return for how long, seconds."""
        begun = self._clock()
        while self._sent - self._received >= self._limits.unacknowledged_frames:
            self._check(producing)
            await _wait(self._news)
        return self._clock() - begun

    def _due(self, index: int) -> Frame:
        """Return the frame to be shown now, from whatever is ready."""
        rendered = bool(self._queue) and self._queue.first_is_rendered()
        # After a pause, wait for the first pictures; a chunk that is not being rendered never has any.
        if not self._queue or (self._stalled and self._queue.first_is_being_rendered()):
            self._stalled = True
            self._work.set()
            silence = np.zeros(SOUND_PER_FRAME, np.int16)
            return Frame(self._queue.picture, silence, index, NOTHING, False, self._planner.is_behind(), None)
        self._stalled = False
        return self._queue.take(index, late=not rendered)

    async def _known(self, index: int) -> Frame | None:
        """Return the next frame as soon as it is rendered; None when there is none yet."""
        if not self._queue or not self._queue.first_is_rendered():
            await _wait(self._news)
            return None
        return self._queue.take(index, late=False)


async def _wait(event: asyncio.Event) -> None:
    """Wait for an event, a second at most."""
    event.clear()
    tick = asyncio.get_running_loop().call_later(TICK, event.set)  # wait_for may swallow a cancellation
    try:
        await event.wait()
    finally:
        tick.cancel()

"""One conversation: takes speech and controls as they come, gives frames as they are due.

Two coroutines share a queue of chunks: `_produce` plans what the next frames show and has them rendered, `frames` takes
them out, at their time or as soon as they are there. What is planned but not shown can be taken back (`interrupt`).
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable

import numpy as np

from sadtalker_runtime.animation.windows import CHUNK, RADIUS
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.live.face import Face, Rest
from sadtalker_runtime.live.frames import NOTHING, CallerGoneError, Chunk, Frame, Limits, SessionIdleError, Split
from sadtalker_runtime.live.motion import Motion, Speak, motion_of
from sadtalker_runtime.live.options import LiveOptions
from sadtalker_runtime.live.trajectory import RETURN, Trajectory
from sadtalker_runtime.live.utterance import SOUND_PER_FRAME, Utterance
from sadtalker_runtime.media.audio import SAMPLE_RATES
from sadtalker_runtime.timing import FRAME_RATE

LEAD = 3 * CHUNK  # frames of speech that are planned before they are due, at most
IDLE_LEAD = 2  # frames of rest
PAUSE = 0.6  # seconds that the next piece of speech may be late, at pace realtime; then the utterance is complete
LATE = 2.0  # seconds after a picture was late in which chunks are rendered one by one: together they would all be late
BEHIND = 1.0  # seconds; a session that is later gives up the time that it lost
UTTERANCES = 64  # waiting, at most
TICK = 1.0  # seconds between two looks whether somebody is still there


class LiveSession:
    """Made at once, so that nothing said to it is lost; shows its first frame when `frames` is given a face.

    Args:
        options: how it goes.
        limits: of what it uses.
        clock: seconds.
    """

    def __init__(self, options: LiveOptions, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self._limits = limits
        self._clock = clock
        self._realtime = options.pace == "realtime"
        self._utterances: deque[Utterance] = deque()
        self._spoken = 0  # utterances begun so far
        self._ending = False
        self._heard_at = clock()
        self._sent = self._received = 0
        self._trajectory = Trajectory()
        self._queue: deque[Chunk] = deque()
        self._shown = 0  # frames of the trajectory
        self._motion: Motion | None = None  # of the first utterance, once it has begun
        self._start = 0  # its next frame
        self._returning = 0  # frames until the renderer sees nothing but rest
        self._rest_at = 0
        self._stalled = False
        self._late_at = -LATE
        self._rendering: set[asyncio.Task[Array]] = set()
        self._generation = 0
        self._work, self._news = asyncio.Event(), asyncio.Event()

    def speak(self, samples: Array, rate: int) -> None:
        """Take a piece of speech: int16 or float32 [n], at `rate` Hz, at least 10 ms.

        Raises:
            InputError: it cannot be used, or more is waiting to be shown than may be.
        """
        now = self._touch()
        if self._ending:
            raise InputError("speech: expected before the end, got it afterwards")
        waiting = sum(u.frames for u in self._utterances) - self._start
        seconds = waiting / FRAME_RATE + len(samples) / max(rate, SAMPLE_RATES[0])
        if seconds > self._limits.pending_seconds or len(self._utterances) >= UTTERANCES:
            raise InputError(
                f"speech: expected at most {self._limits.pending_seconds:g} s and {UTTERANCES} utterances that are not "
                f"shown yet, got {seconds:g} s and {len(self._utterances)} utterances"
            )
        last = self._utterances[-1] if self._utterances else None
        if last and last.frames >= self._limits.utterance_seconds * FRAME_RATE:
            last.flush(now)
        if last is None or last.complete:
            last = Utterance(self._spoken, rate)
            last.speak(samples, rate, now)  # before it counts, for it may be refused
            self._utterances.append(last)
            self._spoken += 1
        else:
            last.speak(samples, rate, now)
        self._notify()

    def flush(self) -> None:
        """Declare what was said a complete utterance."""
        now = self._touch()
        if self._utterances:
            self._utterances[-1].flush(now)
        self._notify()

    def interrupt(self) -> None:
        """Forget all speech that is not shown yet, and come to rest."""
        self._touch()
        speaking = self._motion is not None or any(chunk.utterance != NOTHING for chunk in self._queue)
        self._utterances.clear()
        self._generation += 1
        if speaking:
            self._drop_queue()
            self._trajectory.take_back(self._trajectory.count - self._shown)
            self._come_to_rest()
        self._notify()

    def end(self) -> None:
        """Show what was said, then end."""
        self.flush()
        self._ending = True
        self._notify()

    def received(self, frames: int) -> None:
        """Note how many frames the caller has received in all.

        Raises:
            InputError: more than were sent, or fewer than before.
        """
        self._touch()
        if not self._received <= frames <= self._sent:
            raise InputError(f"received: expected {self._received} to {self._sent} frames, got {frames}")
        self._received = frames
        self._notify()

    async def frames(self, face: Face, rest: Rest, gone: Callable[[], bool]) -> AsyncGenerator[Frame, None]:
        """Yield the session's frames until its end. Close it to stop the work.

        Args:
            gone: whether nobody takes the frames any more.

        Raises:
            SessionIdleError: no request came for too long.
            CallerGoneError: `gone`, noticed within a second.
            Exception: what the face's models raise.
        """
        self._face, self._rest, self._gone = face, rest, gone
        self._picture = rest.picture(0)
        producing = asyncio.create_task(self._produce())
        producing.add_done_callback(lambda _: self._notify())
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
                if self._ending and not self._utterances and not any(c.utterance != NOTHING for c in self._queue):
                    return
                frame = self._due(index) if self._realtime else await self._known(index, producing)
                if frame is None:
                    continue
                self._sent += 1
                yield frame
                index += 1
        finally:
            producing.cancel()
            self._drop_queue()
            for task in self._rendering:
                task.cancel()
            await asyncio.gather(producing, return_exceptions=True)

    def _touch(self) -> float:
        self._heard_at = self._clock()
        return self._heard_at

    def _notify(self) -> None:
        self._work.set()
        self._news.set()

    async def _wait(self, event: asyncio.Event) -> None:
        event.clear()
        tick = asyncio.get_running_loop().call_later(TICK, event.set)  # wait_for may swallow a cancellation
        try:
            await event.wait()
        finally:
            tick.cancel()

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
            await self._wait(self._news)
        return self._clock() - begun

    def _due(self, index: int) -> Frame:
        """Return the frame to be shown now, whatever is ready."""
        if self._queue:
            rendered = self._is_rendered(self._queue[0])
        if not self._queue or (self._stalled and not rendered):
            self._stalled = True
            self._work.set()
            silence = np.zeros(SOUND_PER_FRAME, np.int16)
            return Frame(self._picture, silence, index, NOTHING, False, self._is_behind(), None)
        self._stalled = False
        return self._shown_of(self._queue[0], index, not rendered)

    def _is_behind(self) -> bool:
        """Return whether a chunk that could be there is not; otherwise more is to be said first."""
        if self._queue:
            return False  # after a pause, the first chunk is being rendered
        if self._motion is None or not self._utterances:
            return True
        ready = self._utterances[0].arrival(self._motion.needed(self._start) - 1)
        return self._motion.ready(self._start) > 0 and self._clock() - ready > self._rendering_frames() / FRAME_RATE

    async def _known(self, index: int, producing: "asyncio.Task[None]") -> Frame | None:
        """Return the next frame as soon as it is rendered; None when there is none yet."""
        if not self._queue or not self._is_rendered(self._queue[0]):
            await self._wait(self._news)
            return None
        return self._shown_of(self._queue[0], index, late=False)

    def _is_rendered(self, chunk: Chunk) -> bool:
        if chunk.rendering is not None and chunk.rendering.done():
            chunk.pictures, chunk.rendering = chunk.rendering.result(), None
        return chunk.pictures is not None

    def _shown_of(self, chunk: Chunk, index: int, late: bool) -> Frame:
        at = chunk.shown
        if late:
            self._late_at = self._clock()
        if chunk.pictures is not None:
            self._picture = chunk.pictures[at]
        chunk.shown += 1
        self._shown += 1
        ends = chunk.ends and chunk.shown == chunk.frames
        split = None
        if chunk.utterance != NOTHING:
            waited = self._clock() - chunk.arrivals[at]
            look_ahead = min(max(chunk.ready - chunk.arrivals[at], 0.0), waited)
            compute = min(chunk.compute, waited - look_ahead)
            split = Split(look_ahead, waited - look_ahead - compute, compute)
        if chunk.shown == chunk.frames:
            self._queue.popleft()
        self._work.set()
        return Frame(self._picture, chunk.sound[at], index, chunk.utterance, ends, late, split)

    async def _produce(self) -> None:
        while True:
            if not await self._plan():
                await self._wait(self._work)

    async def _plan(self) -> bool:
        """Plan the next frames; return False when there is nothing to plan now."""
        if self._utterances:
            utterance = self._utterances[0]
            motion = self._motion or motion_of(utterance, self.options.look_ahead, self._speaker(utterance))
            frames = motion.ready(self._start)
            if self._realtime and self._motion is None and not utterance.complete and utterance.frames < motion.reserve:
                frames = 0
            if frames == 0 and self._realtime and self._clock() > utterance.expected + PAUSE:
                utterance.flush(self._clock())
                frames = motion.ready(self._start)
            if frames > 0:
                return await self._plan_speech(utterance, motion, frames)
            if utterance.complete:
                self._finish_utterance()
                return True
            if self._motion is not None:  # it pauses in the middle of an utterance
                return False
        if self._returning > 0:
            return self._plan_return()
        return self._realtime and self._plan_rest()

    async def _plan_speech(self, utterance: Utterance, motion: Motion, frames: int) -> bool:
        waiting = sum(chunk.frames - chunk.shown for chunk in self._queue)
        if self._motion is None and self._realtime and waiting < self._rendering_frames():
            return self._plan_rest(self._rendering_frames())  # until the first of the speech is rendered
        if waiting > max(LEAD, self._rendering_frames()):
            return False
        busy = self._is_busy()
        if busy and (not self._realtime or waiting > CHUNK):
            return False
        generation = self._generation
        rows = await motion.rows(self._start, frames)
        if generation != self._generation:
            return True
        if self._motion is None:
            self._motion = motion
            self._trajectory.turn()
        start, self._start = self._start, self._start + frames
        ends = utterance.complete and self._start == utterance.frames
        then = None
        if self._realtime and utterance.complete and start + len(rows) == utterance.frames:
            then = self._rest.following(0, RADIUS)
        windows = self._trajectory.plan(rows, frames, then)
        self._put(
            Chunk(
                frames,
                None if busy else self._render(windows, frames),
                sound=utterance.sound(start, start + frames),
                utterance=utterance.number,
                ends=ends,
                arrivals=[utterance.arrival(start + at) for at in range(frames)],
                ready=utterance.arrival(motion.needed(start) - 1),
            )
        )
        return True

    def _plan_return(self) -> bool:
        """Plan frames that lead from speech to rest."""
        waiting = sum(chunk.frames - chunk.shown for chunk in self._queue)
        busy = self._is_busy()
        if waiting >= (self._rendering_frames() + CHUNK if self._realtime else LEAD) or busy:
            return False
        frames = min(self._returning, CHUNK)
        windows = self._trajectory.plan(self._rest.following(self._rest_at, frames + RADIUS), frames)
        self._put(Chunk(frames, self._render(windows, frames)))
        self._returning -= frames
        self._rest_at += frames
        return True

    def _plan_rest(self, lead: int = IDLE_LEAD) -> bool:
        """Plan a frame of the idle loop, which is rendered already."""
        if sum(chunk.frames - chunk.shown for chunk in self._queue) >= lead:
            return False
        self._trajectory.follow(self._rest.following(self._rest_at, 1))
        self._put(Chunk(1, None, pictures=self._rest.picture(self._rest_at)[None]))
        self._rest_at += 1 if self._rest.complete else 0
        return True

    def _finish_utterance(self) -> None:
        begun = self._motion is not None
        self._utterances.popleft()
        self._motion, self._start = None, 0
        if begun and self._realtime:
            self._come_to_rest()
        self._notify()

    def _come_to_rest(self) -> None:
        self._motion, self._start = None, 0
        self._trajectory.turn()
        self._rest_at, self._returning = 0, RETURN

    def _speaker(self, utterance: Utterance) -> Speak:
        async def speak(waveform: Array, first: int, start: int, stop: int, whole: bool) -> Array:
            return await self._face.speak(utterance.number, waveform.copy(), first, start, stop, whole)

        return speak

    def _render(self, windows: Array, frames: int) -> "asyncio.Task[Array]":
        task = asyncio.create_task(self._face.render(windows, frames))
        self._rendering.add(task)
        task.add_done_callback(self._rendered)
        return task

    def _rendered(self, task: "asyncio.Task[Array]") -> None:
        self._rendering.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for its pictures raises it; where nobody does, it is of no interest
        self._notify()

    def _is_busy(self) -> bool:
        """Return whether as many chunks are being rendered as may be."""
        late = self._realtime and self._clock() - self._late_at < LATE
        return len(self._rendering) >= (1 if late else self._limits.chunks_in_flight)

    def _put(self, chunk: Chunk) -> None:
        begun, generation = self._clock(), self._generation

        def rendered(task: "asyncio.Task[Array]") -> None:
            chunk.compute = self._clock() - begun
            passed_by = chunk.shown == chunk.frames and generation == self._generation
            if passed_by and not task.cancelled() and task.exception() is None:
                self._picture = task.result()[-1]  # late, but better than an older one

        if chunk.rendering is not None:
            chunk.rendering.add_done_callback(rendered)
        self._queue.append(chunk)
        self._news.set()

    def _rendering_frames(self) -> int:
        """Return the frames that are shown while a chunk is rendered."""
        return math.ceil(Face.render_seconds * FRAME_RATE) + 1

    def _drop_queue(self) -> None:
        for chunk in self._queue:
            if chunk.rendering is not None:
                chunk.rendering.cancel()
        self._queue.clear()

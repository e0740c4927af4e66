"""The planner of a session's next frames: speech, the return to rest, or the idle loop."""

import math
from collections.abc import Callable

from sadtalker_runtime.animation.windows import CHUNK, RADIUS
from sadtalker_runtime.arrays import Array
from sadtalker_runtime.live.backlog import Backlog
from sadtalker_runtime.live.chunks import ChunkQueue
from sadtalker_runtime.live.face import Face, Rest
from sadtalker_runtime.live.frames import Chunk, Limits
from sadtalker_runtime.live.motion import Motion, Speak, motion_of
from sadtalker_runtime.live.options import LiveOptions
from sadtalker_runtime.live.trajectory import RETURN, Trajectory
from sadtalker_runtime.live.utterance import Utterance
from sadtalker_runtime.timing import FRAME_RATE

LEAD = 3 * CHUNK  # frames of speech that are planned ahead, at most
IDLE_LEAD = 2  # frames of rest
PAUSE = 0.6  # seconds that the next piece of speech may be late, at pace realtime; then the utterance is complete


class Planner:
    """The planner: takes speech from the backlog, plans its motion, and puts chunks into the queue.

    Args:
        options: of the session.
        limits: of the session.
        clock: seconds.
        backlog: speech to be said.
        queue: receives the planned chunks.
    """

    def __init__(
        self, options: LiveOptions, limits: Limits, clock: Callable[[], float], backlog: Backlog, queue: ChunkQueue
    ) -> None:
        self._look_ahead = options.look_ahead
        self._realtime = options.pace == "realtime"
        self._chunks_in_flight = limits.chunks_in_flight
        self._clock = clock
        self._backlog = backlog
        self._queue = queue
        self._trajectory = Trajectory()
        self._motion: Motion | None = None  # of the first utterance, once it has begun
        self._returning = 0  # frames until the renderer sees nothing but rest
        self._rest_at = 0

    def begin(self, face: Face, rest: Rest) -> None:
        """Set the face to be shown, before the first `plan`."""
        self._face, self._rest = face, rest

    async def plan(self) -> bool:
        """Plan the next frames; return False when there is nothing to plan now."""
        if self._backlog:
            utterance, start = self._backlog.first, self._backlog.start
            motion = self._motion or motion_of(utterance, self._look_ahead, self._speaker(utterance))
            frames = motion.ready(start)
            if self._realtime and self._motion is None and not utterance.complete and utterance.frames < motion.reserve:
                frames = 0
            if frames == 0 and self._realtime and self._clock() > utterance.expected + PAUSE:
                utterance.flush(self._clock())
                frames = motion.ready(start)
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

    def interrupt(self) -> None:
        """Drop all speech that is not shown yet, and return to rest."""
        speaking = self._motion is not None or self._queue.speaks
        self._backlog.clear()
        self._queue.generation += 1
        if speaking:
            self._queue.drop()
            self._trajectory.take_back(self._trajectory.count - self._queue.shown)
            self._come_to_rest()

    def is_behind(self) -> bool:
        """Return whether a chunk that could be there is not; otherwise more is to be said first."""
        if self._queue:
            return False  # after a pause, the first chunk is being rendered
        if self._motion is None or not self._backlog:
            return True
        start = self._backlog.start
        ready = self._backlog.first.arrival(self._motion.needed(start) - 1)
        return self._motion.ready(start) > 0 and self._clock() - ready > _rendering_frames() / FRAME_RATE

    async def _plan_speech(self, utterance: Utterance, motion: Motion, frames: int) -> bool:
        waiting = self._queue.waiting
        if self._motion is None and self._realtime and waiting < _rendering_frames():
            return self._plan_rest(_rendering_frames())  # until the first chunk of speech is rendered
        if waiting > max(LEAD, _rendering_frames()):
            return False
        busy = self._queue.is_busy(self._chunks_in_flight)
        if busy and (not self._realtime or waiting > CHUNK):
            return False
        generation, start = self._queue.generation, self._backlog.start
        rows = await motion.rows(start, frames)
        if generation != self._queue.generation:
            return True
        if self._motion is None:
            self._motion = motion
            self._trajectory.turn()
        stop = self._backlog.start = start + frames
        then = None
        if self._realtime and utterance.complete and start + len(rows) == utterance.frames:
            then = self._rest.following(0, RADIUS)
        windows = self._trajectory.plan(rows, frames, then)
        self._queue.put(
            Chunk(
                frames,
                None if busy else self._queue.render(self._face, windows, frames),
                sound=utterance.sound(start, stop),
                utterance=utterance.number,
                ends=utterance.complete and stop == utterance.frames,
                arrivals=[utterance.arrival(start + at) for at in range(frames)],
                ready=utterance.arrival(motion.needed(start) - 1),
            )
        )
        return True

    def _plan_return(self) -> bool:
        """Plan frames that lead from speech to rest."""
        most = _rendering_frames() + CHUNK if self._realtime else LEAD
        if self._queue.waiting >= most or self._queue.is_busy(self._chunks_in_flight):
            return False
        frames = min(self._returning, CHUNK)
        windows = self._trajectory.plan(self._rest.following(self._rest_at, frames + RADIUS), frames)
        self._queue.put(Chunk(frames, self._queue.render(self._face, windows, frames)))
        self._returning -= frames
        self._rest_at += frames
        return True

    def _plan_rest(self, lead: int = IDLE_LEAD) -> bool:
        """Plan a frame of the idle loop, which is rendered already."""
        if self._queue.waiting >= lead:
            return False
        self._trajectory.follow(self._rest.following(self._rest_at, 1))
        self._queue.put(Chunk(1, None, pictures=self._rest.picture(self._rest_at)[None]))
        self._rest_at += 1 if self._rest.complete else 0
        return True

    def _finish_utterance(self) -> None:
        begun = self._motion is not None
        self._backlog.finish_first()
        self._motion = None
        if begun and self._realtime:
            self._come_to_rest()
        self._queue.notify()

    def _come_to_rest(self) -> None:
        self._motion = None
        self._trajectory.turn()
        self._rest_at, self._returning = 0, RETURN

    def _speaker(self, utterance: Utterance) -> Speak:
        async def speak(waveform: Array, first: int, start: int, stop: int, whole: bool) -> Array:
            return await self._face.speak(utterance.number, waveform.copy(), first, start, stop, whole)

        return speak


def _rendering_frames() -> int:
    """Return the frames that are shown while a chunk is rendered."""
    return math.ceil(Face.render_seconds * FRAME_RATE) + 1

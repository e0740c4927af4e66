"""Speech that a session has received and not shown yet: its utterances in order, bounded."""

from collections import deque

from sadtalker_runtime.arrays import Array
from sadtalker_runtime.errors import InputError
from sadtalker_runtime.live.frames import Limits
from sadtalker_runtime.live.utterance import Utterance
from sadtalker_runtime.media.audio import SAMPLE_RATES
from sadtalker_runtime.timing import FRAME_RATE

UTTERANCES = 64  # waiting, at most


class Backlog:
    """The utterances that are waiting; the first one may be partly planned.

    Args:
        limits: of the session.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._utterances: deque[Utterance] = deque()
        self._begun = 0  # utterances so far
        self.start = 0
        """The next frame of the first utterance that is to be planned."""

    def __bool__(self) -> bool:
        return bool(self._utterances)

    @property
    def first(self) -> Utterance:
        """The utterance that is spoken now or next; there must be one."""
        return self._utterances[0]

    def speak(self, samples: Array, rate: int, now: float) -> None:
        """Append a piece of speech to the last utterance, or begin another.

        Raises:
            InputError: it cannot be used, or more is waiting than may be.
        """
        waiting = sum(utterance.frames for utterance in self._utterances) - self.start
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
            last = Utterance(self._begun, rate)
            last.speak(samples, rate, now)  # first, because it may be refused
            self._utterances.append(last)
            self._begun += 1
        else:
            last.speak(samples, rate, now)

    def flush(self, now: float) -> None:
        """Mark the last utterance as complete."""
        if self._utterances:
            self._utterances[-1].flush(now)

    def finish_first(self) -> None:
        """Drop the first utterance, all of which is planned."""
        self._utterances.popleft()
        self.start = 0

    def clear(self) -> None:
        """Drop all utterances."""
        self._utterances.clear()
        self.start = 0

"""Random live sessions from a seed: complete, dropped, interrupted, and with hostile portraits."""

import threading

import hostile
import numpy as np
from attacked_server import PORTRAIT
from hostile_requests import Outcome
from sadtalker_client import (
    AnimationCancelledError,
    InvalidInputError,
    LiveSession,
    SadTalkerClient,
    SadTalkerError,
)

RATE = 24_000
PIECE = RATE // 10
KINDS = ("live", "live interrupted", "live dropped", "live hostile portrait")


class LiveSessions:
    """Holds one session after the other, of random kinds."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._hostile = list(hostile.pictures().values())

    def hold(self, url: str, patience: float = 120.0) -> Outcome:
        """Hold a session of a random kind and judge how it ends; one that takes `patience` seconds is a finding."""
        kind = str(self._random.choice(KINDS))
        portrait = PORTRAIT.read_bytes()
        if kind == "live hostile portrait":
            portrait = self._hostile[self._random.integers(len(self._hostile))]
        patient = threading.Event()
        with SadTalkerClient(url) as client:
            try:
                with client.live(portrait, pace="fast", seed=int(self._random.integers(100))) as session:
                    timer = threading.Timer(patience, lambda: (patient.set(), session.cancel()))
                    timer.start()
                    try:
                        return Outcome(kind, self._talk(kind, session))
                    finally:
                        timer.cancel()
            except SadTalkerError as error:
                return Outcome(kind, "unanswered" if patient.is_set() else _ending(kind, error), str(error))

    def _talk(self, kind: str, session: LiveSession) -> str:
        for _ in range(self._random.integers(8, 13)):  # so much that frames come without a flush
            session.speak(self._random.normal(0, 3000, PIECE).astype(np.int16), RATE)
        if kind == "live dropped":
            for _ in range(self._random.integers(0, 4)):
                next(session)
            return "cancelled"
        if kind == "live interrupted":
            next(session)
            session.interrupt()
        session.end()
        return "served" if list(session) or kind == "live interrupted" else "no frame"


def _ending(kind: str, error: SadTalkerError) -> str:
    refused = kind == "live hostile portrait" and isinstance(error, InvalidInputError | AnimationCancelledError)
    return "refused" if refused else "failed"

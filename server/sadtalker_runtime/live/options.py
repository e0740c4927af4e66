"""How a live session goes, besides the options that it shares with a video."""

from dataclasses import dataclass

from sadtalker_runtime.animation.windows import RADIUS
from sadtalker_runtime.errors import InputError

FORMATS = "rgb24", "jpeg", "mp4"
PACES = "realtime", "fast"
FULL = -1


@dataclass(frozen=True)
class LiveOptions:
    """Options of one session.

    Raises:
        InputError: a value is out of range; the message names it.
    """

    look_ahead: int = 4
    """Frames of speech, 0 to 13, that are known beyond a chunk before it is rendered; -1 (full) waits for all that a
    recording's frame would have seen. 4 suffice for the expression itself."""
    pace: str = "realtime"
    """realtime: a frame every 40 ms, whatever happens; fast: frames as soon as they are known, of speech only."""
    idle: bool = True
    """Whether the face moves while nothing is said, in `realtime`; otherwise it holds still, at rest."""
    format: str = "jpeg"
    """How frames are sent: rgb24, jpeg, or mp4 (one endless fragmented file, sound included)."""

    def __post_init__(self) -> None:
        if not FULL <= self.look_ahead <= RADIUS:
            raise InputError(f"look_ahead: expected 0 to {RADIUS} frames, or {FULL} (full), got {self.look_ahead}")
        for name, known in (("pace", PACES), ("format", FORMATS)):
            if (value := getattr(self, name)) not in known:
                raise InputError(f"{name}: expected {' or '.join(known)}, got {value!r}")

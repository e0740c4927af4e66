"""Tells the model `sadtalker` what to do with its videos when the server stops or breaks, and waits for them.

From SIGTERM on tritonserver refuses what its own models ask of each other, and a model whose process is dead never
answers, so every video would fail or hang at its next chunk. The model counts its videos on the metrics page and
reads its orders from the file that SADTALKER_DRAIN_FILE names; NONE, and no file, is no order. An order overwrites the
one before it in place, which asks for no new block of a disk that may be full.
"""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sadtalker_server._http import get

ORDERS_FILE = "SADTALKER_DRAIN_FILE"
NONE = "carry on"
"""Make videos."""
DRAIN = "draining"
"""Refuse new videos, finish the others."""
STOP = "stopping"
"""End the others, too: the server has to go."""
BREAK = "broken"
"""End them all: a process that they need is dead."""
_ORDERS = (DRAIN, STOP, BREAK)

_VIDEOS = re.compile(
    r"^(?:sadtalker_videos_in_flight|sadtalker_videos_waiting|sadtalker_live_sessions"
    r'|nv_inference_pending_request_count\{model="sadtalker",[^}]*\}) (\S+)$',
    re.MULTILINE,
)
_POLL_SECONDS = 0.2
_END_SECONDS = 2.0  # the model reads its orders twice a second
_UNTIL_READ_SECONDS = 0.7


def write_order(file: Path, order: str) -> None:
    """Write an order, in place where there is one. A reader in the middle of that sees no valid order."""
    with file.open("r+" if file.exists() else "w") as orders:
        orders.write(order)
        orders.truncate()


class Videos:
    """The videos of one tritonserver, whose metrics page is at `metrics_port` (None: it has none)."""

    def __init__(self, orders: Path, host: str, metrics_port: int | None) -> None:
        self._orders, self._host, self._metrics_port = orders, host, metrics_port
        self._lock, self._gravest = threading.Lock(), 0

    def order(self, order: str) -> None:
        """Give the model `sadtalker` an order, unless it has a more urgent one."""
        with self._lock:
            if _ORDERS.index(order) >= self._gravest:
                self._gravest = _ORDERS.index(order)
                write_order(self._orders, order)

    def page(self) -> str:
        """Return tritonserver's metrics page; empty where there is none."""
        if self._metrics_port is None:
            return ""
        try:
            status, page = get(self._host, self._metrics_port, "/metrics", timeout=2)
        except OSError:
            return ""
        return page if status == 200 else ""

    def count(self) -> float | None:
        """Return how many are being made or waiting; None where nobody counts them."""
        counts = _VIDEOS.findall(self.page())
        return sum(map(float, counts)) if counts else None

    def drain(self, deadline: float, is_broken: Callable[[], bool]) -> bool | None:
        """Refuse new videos and wait for the others until `deadline` (monotonic seconds), then end them.

        Returns True when all were finished, False when some were cut or `is_broken` says that none can be finished,
        None where none are counted (Triton drains itself, then).
        """
        self.order(DRAIN)
        idle = 0
        while idle < 2:  # for an instant a video is no longer queued and not yet counted
            if is_broken():
                return False
            videos = self.count()
            if videos is None:
                return False if is_broken() else None
            if videos and time.monotonic() > deadline:
                self.end(STOP)
                return False
            idle = 0 if videos else idle + 1
            time.sleep(_POLL_SECONDS)
        return True

    def end(self, order: str) -> None:
        """Give the order STOP or BREAK and leave the model some time to answer its callers."""
        self.order(order)
        start = time.monotonic()
        while time.monotonic() - start < _END_SECONDS:
            time.sleep(_POLL_SECONDS)
            counted = self.count()
            if counted is None or (counted == 0 and time.monotonic() - start > _UNTIL_READ_SECONDS):
                return

"""Lets the videos in the making finish before tritonserver is told to stop.

From SIGTERM on tritonserver refuses what its own models ask of each other, so every video would fail at its next
chunk. The model `sadtalker` counts its videos on the metrics page, and refuses new ones once the file that
SADTALKER_DRAIN_FILE names exists.
"""

import re
import time
from pathlib import Path

from sadtalker_server._http import get

DRAIN_FILE = "SADTALKER_DRAIN_FILE"

_VIDEOS = re.compile(
    r'^(?:sadtalker_videos_in_flight|nv_inference_pending_request_count\{model="sadtalker",[^}]*\}) (\S+)$',
    re.MULTILINE,
)
_POLL_SECS = 0.2


def drain(drain_file: Path, host: str, metrics_port: int, deadline: float) -> bool | None:
    """Refuse new videos and wait for the others until `deadline` (monotonic seconds).

    Returns True when all are done, False when some are not, None where none are counted (Triton drains itself, then).
    """
    drain_file.touch()
    idle = 0
    while idle < 2:  # for an instant a video is neither queued any more nor counted yet
        try:
            _, page = get(host, metrics_port, "/metrics")
        except OSError:
            return None  # no metrics
        counts = _VIDEOS.findall(page)
        if not counts:
            return None  # no model `sadtalker`
        videos = sum(map(float, counts))
        if videos and time.monotonic() > deadline:
            return False
        idle = 0 if videos else idle + 1
        time.sleep(_POLL_SECS)
    return True

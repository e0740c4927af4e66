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


def drain(drain_file: Path, host: str, metrics_port: int, deadline: float) -> bool:
    """Refuse new videos and wait for the others until `deadline` (monotonic seconds); True when all are done."""
    drain_file.touch()
    idle = 0
    while idle < 2:  # for an instant a video is neither queued any more nor counted yet
        try:
            _, page = get(host, metrics_port, "/metrics")
        except OSError:
            return True  # no metrics: Triton's own draining has to do
        videos = sum(map(float, _VIDEOS.findall(page)))
        if videos and time.monotonic() > deadline:
            return False
        idle = 0 if videos else idle + 1
        time.sleep(_POLL_SECS)
    return True

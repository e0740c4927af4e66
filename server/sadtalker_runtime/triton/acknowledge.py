"""The model `acknowledge`: says to the model `sadtalker` how much of a video its listener has read.

It is a model of its own because it has other inputs and no answer. Its requests come in the video's own stream because
behind a load balancer only that stream leads to the server that makes the video. The two processes are children of one
tritonserver; a datagram socket that is named after it joins them and leaves nothing on any disk.
"""

import hashlib
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

LONGEST = 4096  # bytes of a message
LONGEST_ID = 256  # characters of a video's request id


class TritonPythonModel:
    """The forwarder of acknowledgements. Decoupled, and so without a response in the caller's stream."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the socket."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def execute(self, requests: list[Any]) -> None:
        """Send one message per request. One for a video that has ended, or that never was, has no effect."""
        for request in requests:
            video, frames_done = (
                pb_utils.get_input_tensor_by_name(request, name).as_numpy().item() for name in ("video", "frames_done")
            )
            message = json.dumps({"video": video.decode(errors="replace")[:LONGEST_ID], "frames_done": frames_done})
            with suppress(OSError):  # the other process is gone or busy: the next acknowledgement says more
                self._socket.sendto(message.encode(), _address())
            request.get_response_sender().send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def finalize(self) -> None:
        """Close the socket."""
        self._socket.close()


class Acknowledgements:
    """The receiving end, for an event loop to watch.

    Args:
        heard: called with a video's request id and the number of frames that its listener has.
    """

    def __init__(self, heard: Callable[[str, int], None]) -> None:
        self._heard = heard
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(_address())

    def fileno(self) -> int:
        """Return the descriptor to be watched for reading."""
        return self._socket.fileno()

    def receive(self) -> None:
        """Pass on all messages that have arrived."""
        with suppress(BlockingIOError):
            while True:
                message = json.loads(self._socket.recv(LONGEST))
                self._heard(message["video"], message["frames_done"])

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _address() -> bytes:
    """Return a name in Linux's abstract namespace that the children of one tritonserver share."""
    parent = os.getppid()
    started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    digest = hashlib.sha256(f"{namespace} {parent} {started}".encode()).hexdigest()
    return b"\0sadtalker-acknowledgements-" + digest[:16].encode()

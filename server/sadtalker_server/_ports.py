"""Finds the ports to listen on before tritonserver does, because its own message names no port."""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack

from sadtalker_server._errors import LaunchError


def choose_ports(host: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Return ports by service name, 0 replaced by a free one; raises LaunchError for one that cannot be bound."""
    chosen = {}
    with ExitStack() as held:  # all held until all are known, so that no two services get the same
        for service, port in wanted.items():
            try:
                listener = held.enter_context(socket.create_server((host, port)))
            except (OSError, OverflowError) as error:
                taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
                reason = "already in use; 0 takes a free one" if taken else error
                raise LaunchError(f"{service} port {port} on {host}: {reason}") from error
            chosen[service] = listener.getsockname()[1]
    return chosen

"""Serves until something dies, and then, if asked to, starts again after a pause that grows with every failure."""

import time
from collections.abc import Callable

from sadtalker_server._errors import LaunchError
from sadtalker_server._server import Server

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_WELL_SECONDS = 300.0  # after a run this long, pauses start from the shortest again


def serve(server: Server, restart: bool, report: Callable[[str], None]) -> None:
    """Return when a process of `server` has died; with `restart`, start it again instead, for ever.

    `report` is called with every failure.
    """
    pause = _FIRST_PAUSE_SECONDS
    while True:
        start = time.monotonic()
        server.wait()
        if not restart:
            return
        if time.monotonic() - start >= _WELL_SECONDS:
            pause = _FIRST_PAUSE_SECONDS
        report(f"{server.failure}; starting again in {pause:g} s")
        pause = _start_again(server, pause, report)
        report("ready again")


def _start_again(server: Server, pause: float, report: Callable[[str], None]) -> float:
    """Try until it succeeds; returns the next pause."""
    while True:
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        try:
            server.restart()
        except LaunchError as error:
            report(f"{error}\nstarting again in {pause:g} s")
        else:
            return pause

"""Refusals that took the server 3 to 10 seconds."""

from sadtalker_server import Server
from slow_refusals import refused, slow_requests

MOST_SECONDS = 5.0  # of processor time, of which a busy machine takes twice as much as a quiet one


def test_refusals_take_little_processor_time(tiny_server: Server) -> None:
    taken = {}
    for name, (inputs, beginning) in slow_requests().items():
        _, taken[name], message = refused(tiny_server, inputs)
        assert message.startswith(beginning)
    assert max(taken.values()) < MOST_SECONDS, taken

"""Random requests to the real server, from a seed: none hangs, none blames the server, memory stays bounded."""

from attacked_server import memory, seconds_to_serve
from hostile_requests import Requests, try_request
from live_requests import KINDS, LiveSessions
from sadtalker_server import Server

REQUESTS = 24
MOST_MB = 200.0  # that any process may grow by


def test_random_requests_are_served_or_refused_by_name(tiny_server: Server) -> None:
    requests = Requests(seed=1)
    seconds_to_serve(tiny_server)
    before = memory(tiny_server)
    kinds = [*requests.kinds] + [requests.next().kind for _ in range(REQUESTS - len(requests.kinds))]
    outcomes = [try_request(tiny_server.grpc_url, requests.of(kind)) for kind in kinds]
    assert not [outcome for outcome in outcomes if outcome.is_finding]
    assert {"served", "refused", "cancelled"} == {outcome.ended for outcome in outcomes}
    seconds_to_serve(tiny_server)
    grown = {name: held - before.get(name, 0.0) for name, held in memory(tiny_server).items()}
    assert max(grown.values()) < MOST_MB, grown


def test_random_live_sessions_are_held_or_refused_by_name(tiny_server: Server) -> None:
    sessions = LiveSessions(seed=7)
    seconds_to_serve(tiny_server)
    outcomes = [sessions.hold(tiny_server.grpc_url) for _ in range(12)]
    assert not [outcome for outcome in outcomes if outcome.is_finding]
    assert set(KINDS) == {outcome.kind for outcome in outcomes}

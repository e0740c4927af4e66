"""The web server of client/examples/stream_to_browser.py, run in this process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import stream_to_browser
from sadtalker_client import SadTalkerClient


@contextmanager
def serve(url: str, portrait: Path, speech: Path, grace_seconds: float) -> Iterator[ThreadingHTTPServer]:
    """Serve the example's page on a free port, over the SadTalker server at `url`."""
    with (
        SadTalkerClient(url) as client,
        stream_to_browser.make_server(client, portrait, speech, 0, grace_seconds) as web,
    ):
        threading.Thread(target=web.serve_forever, args=[0.05]).start()
        try:
            yield web
        finally:
            web.shutdown()

"""The web server of client/examples/stream_to_browser.py, run in this process."""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from sadtalker_client import SadTalkerClient

EXAMPLE = Path(__file__).parents[2] / "client" / "examples" / "stream_to_browser.py"


@contextmanager
def serve(url: str, portrait: Path, speech: Path, grace_seconds: float) -> Iterator[ThreadingHTTPServer]:
    """Serve the example's page on a free port, over the SadTalker server at `url`."""
    spec = importlib.util.spec_from_file_location("stream_to_browser", EXAMPLE)
    assert spec
    assert spec.loader
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with SadTalkerClient(url) as client, example.make_server(client, portrait, speech, 0, grace_seconds) as web:
        threading.Thread(target=web.serve_forever, args=[0.05]).start()
        try:
            yield web
        finally:
            web.shutdown()

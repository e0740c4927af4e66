"""The browser example, with a browser's requests."""

import importlib.util
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest
from fake_triton import endless, error
from sadtalker_client import SadTalkerClient

EXAMPLE = Path(__file__).parents[2] / "client" / "examples" / "stream_to_browser.py"


@pytest.fixture
def browser(server, tmp_path):
    """A connection to the example's web server, which animates through the fake Triton."""
    spec = importlib.util.spec_from_file_location("stream_to_browser", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.wav").write_bytes(b"sound")
    with (
        SadTalkerClient(server.url) as client,
        example.make_server(client, tmp_path / "a.png", tmp_path / "b.wav", 0) as web,
    ):
        threading.Thread(target=web.serve_forever, args=[0.05]).start()
        yield HTTPConnection("127.0.0.1", web.server_port, timeout=10)
        web.shutdown()


def get(browser, path):
    browser.request("GET", path)
    return browser.getresponse()


def test_the_page_shows_the_video(browser):
    assert b"<video src=/video.mp4" in get(browser, "/").read()
    answer = get(browser, "/video.mp4")
    assert answer.getheader("Content-Type") == "video/mp4"
    assert answer.read() == b"onetwothree"


def test_a_visitor_who_leaves_stops_the_server(browser, server):
    server.answer = lambda request: endless()
    answer = get(browser, "/video.mp4")
    assert answer.read(3) == b"xxx"
    answer.close()
    browser.close()
    assert server.cancelled.wait(20)


def test_an_error_is_told_in_words(browser, server):
    server.answer = lambda request: [error("INVALID_ARGUMENT: the portrait shows no face")]
    answer = get(browser, "/video.mp4")
    assert answer.status == 502
    assert b"the portrait shows no face" in answer.read()

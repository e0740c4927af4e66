"""The browser example's web server, with a browser's requests; test_browser.py opens its page in Chromium."""

from contextlib import closing
from http.client import HTTPConnection

import pytest
from browser_example import serve
from fake_triton import endless, error, final, fragment


@pytest.fixture
def web(server, tmp_path):
    """Run the example's web server, which animates through the fake Triton."""
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "b.wav").write_bytes(b"sound")
    with serve(server.url, tmp_path / "a.png", tmp_path / "b.wav", grace_seconds=0.2) as web:
        yield web


@pytest.fixture
def browser(web):
    """Return a connection to it."""
    with connected(web) as connection:
        yield connection


def connected(web):
    return closing(HTTPConnection("127.0.0.1", web.server_port, timeout=20))


def get(browser, path, method="GET", **headers):
    browser.request(method, path, headers=headers)
    return browser.getresponse()


@pytest.fixture
def held(server):
    """Let the fake Triton send one fragment and hold the second back until this event is set."""
    release = server.hold_second_fragment()
    yield release
    release.set()


def test_the_page_plays_the_video(browser):
    answer = get(browser, "/")
    assert answer.getheader("Content-Type") == "text/html; charset=utf-8"
    assert b'const VIDEO = "/video.mp4"' in answer.read()
    assert get(browser, "/portrait").read() == b"picture"
    answer = get(browser, "/video.mp4")
    assert answer.getheader("Content-Type") == "video/mp4"
    assert answer.read() == b"onetwothree"
    answer = get(browser, "/elsewhere")
    assert answer.status == 404


def test_a_repeated_request_joins_the_running_video(web, server, held):
    with connected(web) as one, connected(web) as two:
        first, second = get(one, "/video.mp4"), get(two, "/video.mp4", Range="bytes=0-")
        assert first.read(3) == second.read(3) == b"one"
        held.set()
        assert first.read() == second.read() == b"two"
    assert len(server.requests) == 1


def test_one_of_two_visitors_may_leave(web, server, held):
    with connected(web) as stays:
        watched = get(stays, "/video.mp4")
        with connected(web) as leaves:
            assert get(leaves, "/video.mp4").read(3) == b"one"
        held.set()
        assert watched.read() == b"onetwo"
    assert not server.cancelled.is_set()


def test_the_finished_video_is_kept_and_served_with_ranges(browser, server):
    get(browser, "/video.mp4").read()
    for wanted, part, content_range in (
        ("bytes=0-1", b"on", "bytes 0-1/11"),
        ("bytes=3-", b"twothree", "bytes 3-10/11"),
        ("bytes=-5", b"three", "bytes 6-10/11"),
        ("bytes=6-99", b"three", "bytes 6-10/11"),
    ):
        answer = get(browser, "/video.mp4", Range=wanted)
        assert (answer.status, answer.read()) == (206, part)
        assert answer.getheader("Content-Range") == content_range
    answer = get(browser, "/video.mp4", Range="bytes=11-")
    assert (answer.status, answer.getheader("Content-Range"), answer.read()) == (416, "bytes */11", b"")
    answer = get(browser, "/video.mp4", Range="lines=1-2")
    assert (answer.status, answer.getheader("Accept-Ranges"), answer.read()) == (200, "bytes", b"onetwothree")
    assert len(server.requests) == 1


def test_asking_about_the_video_starts_none(browser, server):
    answer = get(browser, "/video.mp4", "HEAD")
    assert (answer.status, answer.getheader("Content-Type"), answer.read()) == (200, "video/mp4", b"")
    assert server.requests == []
    get(browser, "/video.mp4").read()
    answer = get(browser, "/video.mp4", "HEAD")
    assert (answer.status, answer.getheader("Content-Length"), answer.read()) == (200, "11", b"")


def test_the_last_visitor_who_leaves_stops_the_server(web, server):
    server.answer = lambda request: endless()
    with connected(web) as browser:
        assert get(browser, "/video.mp4").read(3) == b"xxx"
    assert server.cancelled.wait(20)


def test_an_error_is_told_in_words_and_the_next_request_tries_again(browser, server):
    server.answer = lambda request: [error("INVALID_ARGUMENT: the portrait shows no face")]
    answer = get(browser, "/video.mp4")
    assert (answer.status, answer.read()) == (502, b"the portrait shows no face")
    browser.close()
    server.answer = lambda request: [fragment(b"one", 1, 1), final()]
    assert get(browser, "/video.mp4").read() == b"one"

"""The browser example's page in a real browser: it plays what is there while the rest is still being made."""

import threading
from collections.abc import Iterator

import pytest
from browser_example import serve
from chromium import chromium
from fake_triton import final, fragment
from portrait_video import FRAME_RATE, PORTRAIT, portrait_video
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

SECONDS = 4
PATIENCE = 60  # seconds, on a busy machine


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Yield a browser window."""
    with chromium(str(tmp_path_factory.mktemp("chromium"))) as window:
        yield window


@pytest.fixture(scope="module")
def fragments() -> list[bytes]:
    """Return the fragments of a video."""
    return portrait_video(SECONDS)


@pytest.fixture
def rest(server, fragments) -> Iterator[threading.Event]:
    """Let the fake Triton send all but the last fragment, and that one when this event is set."""
    release = threading.Event()
    frames = SECONDS * FRAME_RATE

    def answer(request):
        for number, data in enumerate(fragments, 1):
            if number == len(fragments):
                assert release.wait(2 * PATIENCE)
            yield fragment(data, min(5 * number, frames), frames)
        yield final()

    server.answer = answer
    yield release
    release.set()


@pytest.fixture
def page(window, server, tmp_path) -> Iterator[str]:
    """Open the example's page in the window."""
    speech = tmp_path / "speech.wav"
    speech.write_bytes(b"sound")
    with serve(server.url, PORTRAIT, speech, grace_seconds=5) as web:
        page = f"http://127.0.0.1:{web.server_port}/"
        window.get(page)
        yield page
        window.get("about:blank")


def video(window: Chrome, attribute: str) -> object:
    return window.execute_script(f"return document.querySelector('video').{attribute}")


def status(window: Chrome) -> str:
    return window.find_element(By.CSS_SELECTOR, "[role=status]").text


def wait(window: Chrome, condition) -> None:
    WebDriverWait(window, PATIENCE, 0.05).until(lambda _: condition(), str(window.get_log("browser")))


def test_it_plays_before_the_video_is_complete(window, page, server, rest):
    window.find_element(By.ID, "start").click()
    wait(window, lambda: video(window, "currentTime") > SECONDS / 4)  # while the end is held back
    assert not rest.is_set()
    assert not video(window, "ended")
    assert video(window, "duration") == pytest.approx(SECONDS)  # known from the first fragment on
    assert video(window, "buffered.end(0)") < SECONDS - 0.1
    rest.set()
    wait(window, lambda: video(window, "ended"))
    assert video(window, "currentTime") == pytest.approx(SECONDS, abs=0.1)
    assert status(window).startswith("4.0 of 4.0 s made · first picture after")
    assert video(window, "videoWidth") == 256
    assert len(server.requests) == 1


def test_a_second_tab_joins_and_sees_it_from_the_beginning(window, page, server, rest):
    window.find_element(By.ID, "start").click()
    wait(window, lambda: video(window, "currentTime") > 0)
    first = window.current_window_handle
    window.switch_to.new_window("tab")
    try:
        window.get(page)
        window.find_element(By.ID, "start").click()
        wait(window, lambda: video(window, "currentTime") > 0)
    finally:
        window.close()
        window.switch_to.window(first)
    assert len(server.requests) == 1


def test_without_media_source_extensions_it_plays_the_finished_file(window, page, server, rest):
    window.execute_script("delete window.MediaSource; delete window.ManagedMediaSource")
    window.find_element(By.ID, "start").click()
    wait(window, lambda: "when it is complete" in status(window))
    assert video(window, "currentTime") == 0
    rest.set()
    wait(window, lambda: video(window, "ended"))
    assert video(window, "duration") == pytest.approx(SECONDS, abs=0.1)
    assert len(server.requests) == 1


def test_a_refusal_is_shown_and_may_be_tried_again(window, page, server):
    server.answer = lambda request: [final()]
    window.find_element(By.ID, "start").click()
    wait(window, lambda: "That did not work: " in status(window))
    assert window.find_element(By.ID, "start").text == "Try again"

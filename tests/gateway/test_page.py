"""The page in real Chromium, over a fake Triton."""

import browser
import pytest
from talking_triton import FACE, NO_FACE, inputs_of

pytestmark = pytest.mark.skipif(bool(browser.missing()), reason=browser.missing())

TIME = "document.getElementById('face').currentTime"


@pytest.fixture
def pictures(tmp_path):
    """Return a picture with a face and one without."""
    (tmp_path / "face.png").write_bytes(FACE)
    (tmp_path / "wall.png").write_bytes(NO_FACE)
    return tmp_path


def severe(page):
    """Return what the browser complains of, but for answers of 4xx, which it always mentions."""
    entries = page.driver.get_log("browser")
    return [e["message"] for e in entries if e["level"] == "SEVERE" and "Failed to load resource" not in e["message"]]


def test_a_portrait_comes_alive_speaks_and_can_be_interrupted(gateway, triton, pictures):
    with browser.opened(gateway.url) as page:
        page.wait("document.getElementById('voice').options.length > 100")
        page.choose(pictures / "face.png")
        page.wait("document.body.dataset.state === 'idle' && document.getElementById('face').loop")
        page.wait(f"{TIME} > 0.1")  # the idle loop plays

        triton.pace = 0.12  # 0.2 s of video in 0.12 s
        page.say("This is a sentence that takes some time to say.")
        page.wait("document.body.dataset.state === 'speaking'")
        assert page.wait(f"{TIME} > 0.1 && document.getElementById('progress').value < 100")
        assert page.js("document.getElementById('face').loop") is False
        page.wait("document.querySelectorAll('#history li').length === 1")
        page.wait("document.body.dataset.state === 'idle' && document.getElementById('face').loop")
        words = page.js("document.getElementById('history').innerText")
        assert "This is a sentence that takes some time to say." in words
        assert "first picture after" in words and "complete after" in words
        link = page.js("document.querySelector('#history a').getAttribute('href')")
        assert gateway.http.get(link).headers["content-type"] == "video/mp4"

        triton.cancelled.clear()
        page.say("This one is going to be interrupted before it has come to its end, because it is quite long.")
        page.wait("document.body.dataset.state === 'speaking'")
        page.element("stop").click()
        page.wait("document.body.dataset.state === 'idle' && document.getElementById('face').loop")
        assert triton.cancelled.wait(10)
        page.wait(f"{TIME} > 0.1")
        assert page.js("document.querySelectorAll('#history li').length") == 1
        assert severe(page) == []


def test_errors_are_told_in_plain_words(gateway, triton, pictures):
    with browser.opened(gateway.url) as page:
        page.wait("document.getElementById('voice').options.length > 100")
        page.choose(pictures / "wall.png")
        page.wait("!document.getElementById('error').hidden")
        assert page.js("document.getElementById('backdrop').hidden")
        assert page.js("document.getElementById('error').textContent") == (
            "Expected a picture with a face, got one without."
        )
        assert page.state == "empty"
        page.choose(pictures / "face.png")
        page.wait("document.body.dataset.state === 'idle'")
        assert page.js("document.getElementById('error').hidden")
        page.say("?!")
        page.wait("!document.getElementById('error').hidden")
        assert "something to say" in page.js("document.getElementById('error').textContent")
        assert page.state == "idle"


def test_the_microphone_is_what_the_portrait_says(gateway, triton, pictures):
    with browser.opened(gateway.url) as page:
        page.wait("document.getElementById('voice').options.length > 100")
        page.choose(pictures / "face.png")
        page.wait("document.body.dataset.state === 'idle'")
        page.element("record").click()
        page.wait("document.getElementById('status').textContent === 'Listening…'")
        page.element("record").click()
        page.wait("document.querySelectorAll('#history li').length === 1")
        recordings = [inputs_of(request).get("audio", b"") for request in triton.requests]
        assert any(recording[:4] == b"\x1a\x45\xdf\xa3" for recording in recordings)  # WebM


def test_it_works_by_keyboard_on_a_phone_with_a_key(serve, pictures):
    gateway = serve(api_keys=["secret"])
    with browser.opened(gateway.url, width=390, height=844, dark=True) as page:
        page.wait("!document.getElementById('key-field').hidden")
        page.element("key").send_keys("secret\t")
        page.wait("document.getElementById('voice').options.length > 100")
        page.choose(pictures / "face.png")
        page.wait("document.body.dataset.state === 'idle'")
        assert page.js("document.activeElement.id") == "text"
        page.element("text").send_keys("Hello.\n")
        page.wait("document.querySelectorAll('#history li').length === 1")
        assert page.js("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.js("document.getElementById('send').offsetTop === document.getElementById('change').offsetTop")
        unnamed = """[...document.querySelectorAll('button, input, select, textarea, video')].filter(
            (e) => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim())).length"""
        assert page.js(unnamed) == 0
        assert severe(page) == []

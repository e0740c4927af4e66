"""Debian's Chromium, driven by Selenium, as a person would use the page."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --force-device-scale-factor=1 "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream --window-size={width},{height}"
)


def missing() -> str:
    """Return why there is no browser to test with, or nothing."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (apt-get install chromium chromium-driver)" if absent else ""


class Page:
    """One page in a browser; `driver` is Selenium's."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def js(self, expression: str) -> object:
        """Return the value of a JavaScript expression."""
        return self.driver.execute_script(f"return {expression}")

    def wait(self, expression: str, seconds: float = 30) -> object:
        """Return the value of an expression once it is true."""
        waiting = WebDriverWait(self.driver, seconds, poll_frequency=0.05)
        try:
            return waiting.until(lambda _: self.js(expression))
        except Exception as error:
            shown = self.js("document.body.innerText")
            raise AssertionError(f"{expression} did not come true within {seconds} s; it says: {shown}") from error

    def element(self, name: str) -> object:
        """Return the element with an id."""
        return self.driver.find_element("id", name)

    def choose(self, picture: Path) -> None:
        """Choose a picture."""
        self.element("picture").send_keys(str(picture))

    def say(self, text: str) -> None:
        """Write something and send it."""
        self.element("text").send_keys(text)
        self.element("send").click()

    @property
    def state(self) -> object:
        """Return the page's state: empty, preparing, idle, thinking or speaking."""
        return self.js("document.body.dataset.state")


@contextlib.contextmanager
def opened(url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Page]:
    """Open a page in a browser of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS.format(width=width, height=height).split():
        options.add_argument(flag)
    if dark:
        options.add_argument("--force-dark-mode")
        options.add_argument("--blink-settings=preferredColorScheme=0")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(30)
        if width < 500:  # narrower than a window may be
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.get(url)
        yield Page(driver)
    finally:
        driver.quit()

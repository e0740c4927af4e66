"""Debian's Chromium without a window, driven by selenium. Nothing is downloaded."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

QUIET = [  # a browser that keeps to the pages it is told to open
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps"),
    "--disable-features=OptimizationHints,MediaRouter,Translate",
]


@contextmanager
def chromium(user_data_dir: str, *flags: str) -> Iterator[Chrome]:
    """Open a browser with an empty profile in `user_data_dir`; raises RuntimeError where Chromium is missing."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise RuntimeError("this needs Chromium: apt-get install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*QUIET, f"--user-data-dir={user_data_dir}", *flags):
        options.add_argument(flag)
    window = Chrome(options, ChromeService(driver))
    try:
        yield window
    finally:
        window.quit()

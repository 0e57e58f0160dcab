"""Debian's Chromium, headless, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright import async_api, sync_api
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

PROGRAM: Final = os.environ.get("HIVE_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
WIDE: Final = ViewportSize(width=1440, height=900)
PHONE: Final = ViewportSize(width=390, height=844)

# fmt: off
ARGUMENTS: Final = (
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-gpu", "--disable-quic",
)
# fmt: on

for expect in (sync_api.expect, async_api.expect):
    expect.set_options(timeout=20_000)  # of a machine that has much else to do


def missing() -> str:
    """Why there is none; empty when there is."""
    return "" if Path(PROGRAM).exists() else "there is no Chromium; install the package `chromium`"


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


def signed_in(browser: Browser, link: str, viewport: ViewportSize, *, dark: bool = False) -> tuple[Page, list[str]]:
    """A page on `/` through a one-time link, and the list that its console's complaints will be in."""
    page = browser.new_context(viewport=viewport, color_scheme="dark" if dark else "light").new_page()
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(link)
    return page, complaints

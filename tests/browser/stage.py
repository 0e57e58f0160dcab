"""A dashboard process with a played hive around it, and a real Chromium that looks at it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright
from tests.dashboard.process import DashboardProcess, dashboard_process, free_port
from tests.dashboard.scene import Scene, brokered
from tests.support.redis_server import RedisServer

from hive_dashboard.render import STATIC
from hive_runtime.redis_bus import RedisBus

CHROMIUM: Final = os.environ.get("HIVE_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARTIFACTS: Final = Path(__file__).parents[2] / "artifacts"
WIDE: Final = ViewportSize(width=1440, height=900)
PHONE: Final = ViewportSize(width=390, height=844)
# fmt: off
ARGUMENTS: Final = [
    "--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-gpu",
]
# fmt: on
RESET: Final = "() => htmx.trigger(document.getElementById('main'), 'sse:reset')"


def missing_part() -> str | None:
    if not Path(CHROMIUM).exists():
        return "there is no Chromium; install the package `chromium`"
    if not (STATIC / "vendor" / "htmx.min.js").exists():
        return "htmx is not there; install hyperhive once more, its build fetches it"
    return None


@dataclass(slots=True)
class Stage:
    """A hive with a dashboard process, and a browser to look at it. `complaints` is what its console said."""

    scene: Scene
    process: DashboardProcess
    http: httpx.AsyncClient
    browser: Browser
    complaints: list[str] = field(default_factory=list)

    async def page(self, viewport: ViewportSize, *, scheme: str = "light", script: bool = True) -> Page:
        """A signed-in page on `/`."""
        dark = scheme == "dark"
        context = await self.browser.new_context(
            viewport=viewport, color_scheme="dark" if dark else "light", java_script_enabled=script
        )
        page = await context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        link = (await self.http.post("/api/v1/sign-in-links")).json()["url"]
        await page.goto(link)
        await page.wait_for_url(f"{self.process.address}/")
        return page

    async def goto(self, page: Page, path: str) -> None:
        await page.goto(f"{self.process.address}{path}")


@asynccontextmanager
async def _staged(redis: RedisServer, process: DashboardProcess) -> AsyncIterator[Stage]:
    bus = RedisBus(redis.address, load_functions=True)
    headers = {"authorization": f"Bearer {process.api_token}"}
    try:
        async with (
            brokered(bus, process.data_dir) as scene,
            httpx.AsyncClient(base_url=process.address, headers=headers, timeout=20) as http,
            async_playwright() as playwright,
        ):
            await process.answers(http, "/readyz", 200)
            await scene.agent("hm1nd")
            await scene.state("hm1nd")
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            try:
                yield Stage(scene, process, http, browser)
            finally:
                await browser.close()
    finally:
        await bus.aclose()


Play = Callable[[Stage], Awaitable[None]]


def played(redis: RedisServer, data_dir: Path, scenario: Play) -> None:
    """Runs it on a stage; what the browser's console complained of fails it."""
    if reason := missing_part():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with dashboard_process(redis, data_dir, free_port()) as process:

        async def main() -> None:
            async with httpx.AsyncClient(base_url=process.address) as http:
                await process.answers(http, "/healthz", 200)
            async with _staged(redis, process) as stage:
                await scenario(stage)
                assert not stage.complaints, stage.complaints

        asyncio.run(main())


async def no_sideways_scroll(page: Page) -> None:
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert page.viewport_size is not None
    assert width <= page.viewport_size["width"]


async def resets(page: Page) -> None:
    """The page is drawn anew, as after a gap; returns when it is."""
    before = await page.evaluate("() => { const main = document.getElementById('main'); main.old = true; }")
    assert before is None
    await page.evaluate(RESET)
    await page.wait_for_function("() => !document.getElementById('main').old")

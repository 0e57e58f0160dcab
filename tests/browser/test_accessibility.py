"""Every page by axe, in every look that one may have of it; and what axe does not see: thumbs and motion."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hatch_build import FrontendError
from playwright.async_api import Page, ViewportSize, expect
from tests.browser.everything import NEEDS, everything
from tests.browser.stage import ARTIFACTS, PHONE, WIDE, Play, Stage
from tests.dashboard.proposals import SHA
from tests.dashboard.supervised import supervise
from tests.support.axe import axe_source, violations

from hive_contracts import streams
from hive_contracts.agents import CommandDone
from hive_contracts.envelope import Envelope

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

PAGES: Final = (
    "/",
    "/messages",
    "/messages/{message}",
    "/questions",
    "/approvals",
    "/approvals/a-0000000000000001",
    "/dead-letters",
    "/retention",
    "/settings",
    "/settings/access",
    "/audit",
    "/palette",
    "/agents/hm1nd",
    "/agents/lin",
    "/agents/broken",
    "/agents/hm1nd/stats",
    "/agents/hm1nd/config",
    "/agents/hm1nd/terminal",
    "/settings/components",
    "/nowhere",
)
NAMED: Final = """(one) => `${one.tagName} .${one.className} ${one.textContent.trim().slice(0, 30)}`"""
SMALL: Final = f"""() => {{
  const fields = "input:not([type=hidden], [type=checkbox], [type=radio])";
  const controls = `button, .button, select, .option, .top nav a, ${{fields}}`;
  const seen = [...document.querySelectorAll(controls)].filter((one) => one.offsetParent && !one.closest(".stream"));
  return seen.filter((one) => one.getBoundingClientRect().height < 43.5).map({NAMED});
}}"""
WIDER: Final = f"""() => {{
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = (one) => one.getBoundingClientRect().right > width;
  return [...document.querySelectorAll("main *")].filter(wide).map({NAMED});
}}"""


def source() -> str:
    try:
        return axe_source()
    except FrontendError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


async def all_needs_are_there(page: Page) -> None:
    await expect(page.locator("#needs > li")).to_have_count(NEEDS)


@dataclass(frozen=True, slots=True)
class Seen:
    """How a browser wants its pages: what its system says, and the theme that was chosen in it."""

    viewport: ViewportSize
    theme: str = ""
    media: dict[str, Any] = field(default_factory=dict)


LOOKS: Final = {
    "light": Seen(WIDE),
    "dark, on a phone": Seen(PHONE, media={"color_scheme": "dark"}),
    "vibec0re": Seen(WIDE, "vibec0re"),
    "more contrast": Seen(PHONE, media={"contrast": "more"}),
    "more contrast, dark": Seen(WIDE, media={"contrast": "more", "color_scheme": "dark"}),
    "forced colours": Seen(WIDE, media={"forced_colors": "active", "reduced_motion": "reduce"}),
}
MOVING: Final = "() => document.getAnimations().filter(one => one.playState === 'running').length"


def configured(command: Envelope) -> CommandDone:
    """What a supervisor says of hm1nd."""
    deployed = [{"approval": "a-1", "commit": SHA, "at": datetime.now(UTC).isoformat(), "subject": "first"}]
    runs = {"main": SHA, "text": 'model = "haiku"\n', "files": ["seed/notes.md"], "deployed": deployed}
    return CommandDone(command=command.type, subject="hm1nd", result=runs)


async def dressed(stage: Stage, look: Seen) -> Page:
    page = await stage.page(look.viewport)
    await page.emulate_media(**look.media)
    await all_needs_are_there(page)
    if look.theme:
        await stage.goto(page, "/settings")
        await page.locator(f"input[value={look.theme}]").check()
        await page.get_by_role("button", name="Keep").click()
        await expect(page.locator("#flash")).to_contain_text("from now on")
    return page


async def refused(stage: Stage, page: Page) -> None:
    """A form of another page: 403."""
    await stage.goto(page, "/settings")
    await page.evaluate("document.querySelector('.look [name=csrf]').value = 'of another'")
    await page.get_by_role("button", name="Keep").click()
    await expect(page.locator(".error-status")).to_have_text("403")


async def unreadable(stage: Stage, page: Page) -> None:
    await stage.scene.bus.hash_set(streams.RETENTION, {streams.REPORT_FIELD: "no report"})
    await stage.goto(page, "/retention")
    await expect(page.get_by_role("alert")).to_contain_text("the report of the last sweep cannot be read")


async def broken(stage: Stage, page: Page) -> None:
    """A row that nobody understands: 503."""
    with closing(sqlite3.connect(stage.process.data_dir / "approvals.sqlite", timeout=20)) as db, db:
        db.execute("UPDATE approvals SET state = 'teleported'")
    await stage.goto(page, "/approvals")
    await expect(page.locator(".error-status")).to_have_text("503")


async def switched_on(stage: Stage, page: Page) -> None:
    await stage.goto(page, "/agents/hm1nd/terminal")
    await page.get_by_role("button", name="Turn it on for hm1nd").click()
    await expect(page.get_by_role("button", name="Turn off")).to_be_visible()


async def signed_out(stage: Stage, page: Page) -> None:
    await stage.goto(page, "/")
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("Link or token").fill("nothing of the kind")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_be_visible()


FURTHER: Final = (switched_on, refused, unreadable, broken, signed_out)


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_on_any_page(play: Callable[[Play], None], tmp_path: Path, look: str) -> None:
    axe, seen = source(), LOOKS[look]
    (tmp_path / "hive.toml").write_text("[dashboard]\ndebug = true\n")

    async def scenario(stage: Stage) -> None:
        message = await everything(stage)
        supervisor = asyncio.create_task(supervise(stage.scene.bus, configured))
        page = await dressed(stage, seen)
        found: dict[str, list[str]] = {}

        async def look_at(where: str) -> None:
            found[where] = await violations(page, axe)
            found[f"{where} too wide"] = await page.evaluate(WIDER)
            if seen.viewport is PHONE:
                found[f"{where} under a thumb"] = await page.evaluate(SMALL)
            if "reduced_motion" in seen.media:
                assert await page.evaluate(MOVING) == 0

        for path in PAGES:
            await stage.goto(page, path.format(message=message))
            await look_at(path)
        if seen.theme:
            await stage.goto(page, "/")
            await expect(page.get_by_role("heading", name="Kept state")).to_contain_text("K3PT ST4T3")
            ARTIFACTS.mkdir(exist_ok=True)
            await page.screenshot(path=ARTIFACTS / "home-vibec0re.png")
        for prepare in FURTHER:
            await prepare(stage, page)
            await look_at(prepare.__name__)
        supervisor.cancel()
        stage.complaints[:] = [said for said in stage.complaints if "Failed to load resource" not in said]
        assert {where: what for where, what in found.items() if what} == {}

    play(scenario)


def test_what_looks_at_pages_sees_what_is_wrong(play: Callable[[Play], None]) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        page = await stage.browser.new_page(viewport=PHONE)
        await page.set_content("<main><button></button><p>x</p><hr width=2000></main>")
        assert any(line.startswith("button-name") for line in await violations(page, axe))
        assert await page.evaluate(SMALL) and await page.evaluate(WIDER)

    play(scenario)

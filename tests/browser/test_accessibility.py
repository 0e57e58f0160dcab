"""Every page by axe, in every look that one may have of it; and what axe does not see: thumbs and motion."""

import os
from collections.abc import Callable
from typing import Final

import pytest
from hatch_build import FrontendError
from playwright.async_api import Page, expect
from tests.browser.everything import NEEDS, everything
from tests.browser.stage import ARTIFACTS, PHONE, WIDE, Play, Stage
from tests.support.axe import axe_source, violations

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


def test_axe_finds_nothing_on_any_page(play: Callable[[Play], None]) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        message = await everything(stage)
        found: dict[str, list[str]] = {}
        for viewport, scheme in ((WIDE, "light"), (PHONE, "dark")):
            page = await stage.page(viewport, scheme=scheme)
            await all_needs_are_there(page)
            for path in PAGES:
                await stage.goto(page, path.format(message=message))
                found[f"{path} {scheme}"] = await violations(page, axe)
                found[f"{path} too wide"] = await page.evaluate(WIDER)
                if viewport is PHONE:
                    found[f"{path} under a thumb"] = await page.evaluate(SMALL)
        assert {where: what for where, what in found.items() if what} == {}

    play(scenario)


def test_every_look_can_be_read(play: Callable[[Play], None]) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        await everything(stage)
        page = await stage.page(WIDE)
        await all_needs_are_there(page)
        for looks in (("vibec0re", ""), ("", "dark")):
            await stage.goto(page, "/settings")
            for look in filter(None, looks):
                await page.locator(f"input[value={look}]").check()
            await page.get_by_role("button", name="Keep").click()
            await expect(page.locator("#flash")).to_contain_text("from now on")
            for path in ("/", "/settings", "/agents/hm1nd"):
                await stage.goto(page, path)
                assert await violations(page, axe) == []
            if "vibec0re" in looks:
                await stage.goto(page, "/")
                await expect(page.get_by_role("heading", name="Kept state")).to_contain_text("K3PT ST4T3")
                ARTIFACTS.mkdir(exist_ok=True)
                await page.screenshot(path=ARTIFACTS / "home-vibec0re.png")
        await page.emulate_media(contrast="more")
        assert await violations(page, axe) == []
        await page.emulate_media(forced_colors="active", reduced_motion="reduce")
        moving = "() => document.getAnimations().filter(one => one.playState === 'running').length"
        assert await page.evaluate(moving) == 0

    play(scenario)


def test_what_looks_at_pages_sees_what_is_wrong(play: Callable[[Play], None]) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        page = await stage.browser.new_page(viewport=PHONE)
        await page.set_content("<main><button></button><p>x</p><hr width=2000></main>")
        assert any(line.startswith("button-name") for line in await violations(page, axe))
        assert await page.evaluate(SMALL) and await page.evaluate(WIDER)

    play(scenario)


def test_signed_out_pages_too(play: Callable[[Play], None]) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        page = await stage.browser.new_page()
        await stage.goto(page, "/sign-in")
        assert await violations(page, axe) == []

    play(scenario)

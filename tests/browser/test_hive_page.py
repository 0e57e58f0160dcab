"""The first page in a real Chromium: needs are met there, work in hand survives updates, the keyboard works."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest
from playwright.async_api import Page, expect
from tests.browser.everything import everything
from tests.browser.stage import PHONE, WIDE, Play, Stage

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

RESET: Final = "() => htmx.trigger(document.getElementById('main'), 'sse:reset')"

expect.set_options(timeout=20_000)  # of a machine that has much else to do


async def resets(page: Page) -> None:
    """The page is drawn anew, as after a gap; returns when it is."""
    before = await page.evaluate("() => { const main = document.getElementById('main'); main.old = true; }")
    assert before is None
    await page.evaluate(RESET)
    await page.wait_for_function("() => !document.getElementById('main').old")


def test_the_flow_is_narrowed_and_stays_so_while_it_goes_on(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.scene.agent("ada")
        page = await stage.page(WIDE)
        await stage.scene.send("operator", "hm1nd", "for hm1nd")
        await stage.scene.send("hm1nd", "ada", "for ada")
        rows = page.locator("#flow .message")
        await expect(rows).to_have_count(2)
        await page.get_by_label("Of", exact=True).select_option("ada")
        await expect(rows).to_have_count(1)
        await expect(rows).to_contain_text("for ada")
        await stage.scene.send("operator", "hm1nd", "not this one")
        await stage.scene.send("operator", "ada", "this one")
        await expect(rows.first).to_contain_text("this one")
        await expect(rows).to_have_count(2)
        await resets(page)
        await expect(rows).to_have_count(2)
        await page.get_by_label("Kind").select_option("agents")
        await expect(rows).to_have_count(1)
        await page.reload()
        await expect(page.get_by_label("Kind")).to_have_value("agents")
        await expect(rows).to_have_count(1)

    play(scenario)


def test_the_keyboard_finds_moves_and_is_turned_off(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.scene.agent("scout")
        page = await stage.page(WIDE)
        await page.keyboard.press("Control+k")
        await page.keyboard.type("scou")
        await expect(page.get_by_role("option", name="scout its turns")).to_have_attribute("aria-selected", "true")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/agents/scout")
        await page.keyboard.press("g")
        await page.keyboard.press("a")
        await page.wait_for_url("**/approvals")
        await page.keyboard.press("g")
        await page.keyboard.press("h")
        await page.wait_for_url(f"{stage.process.address}/")
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await page.keyboard.press("k")
        await expect(page.locator("#agents > li").first).to_be_focused()
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
        await page.keyboard.press("c")
        await expect(page.locator("#compose textarea")).to_be_focused()
        await page.keyboard.type("jk?")
        await expect(page.locator("#compose textarea")).to_have_value("jk?")

        await stage.goto(page, "/settings")
        await page.get_by_label("do nothing").check()
        await page.get_by_role("button", name="Keep").click()
        await expect(page.locator("#flash")).to_contain_text("from now on")
        await page.keyboard.press("?")
        await page.keyboard.press("Control+k")
        await expect(page.get_by_role("dialog")).to_have_count(1)

    play(scenario)


def test_a_lost_connection_is_said_and_made_good(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.locator("#compose textarea").fill("still here")
        await page.context.set_offline(True)
        await page.evaluate(
            "() => { for (const one of document.querySelectorAll('main')) htmx.trigger(one, 'htmx:sseError'); }"
        )
        await expect(page.locator("#link-state")).to_contain_text("The connection is lost")
        await page.context.set_offline(False)
        await resets(page)
        await expect(page.locator("#link-state")).to_be_hidden()
        await expect(page.locator("#compose textarea")).to_have_value("still here")
        stage.complaints.clear()  # what the browser said of the lost connection

    play(scenario)


def test_every_answer_and_every_page_works_without_javascript(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await everything(stage)
        page = await stage.page(PHONE, script=False)
        async with asyncio.timeout(20):
            while await page.locator("#needs > li").count() < 8:
                await page.reload()
        delete = page.locator(".need", has_text="may I delete")
        await delete.get_by_label("dist/").check()
        await delete.get_by_role("button", name="Answer").click()
        await expect(page.locator("#flash")).to_contain_text("Answered.")
        await page.locator(".need-permission").get_by_role("button", name="No").click()
        await expect(page.locator("#flash")).to_contain_text("Answered.")
        await page.locator(".need-dead").get_by_role("button", name="Send again").click()
        await expect(page.locator("#flash")).to_contain_text("back in its recipient")
        await stage.goto(page, "/?agent=scout")
        await expect(page.locator("#flow .message")).to_have_count(1)
        await page.get_by_label("Of", exact=True).select_option("")
        await page.get_by_role("button", name="Show").click()
        await expect(page.locator("#flow .message", has_text="failing build")).to_be_visible()
        await page.get_by_role("link", name="Find").click()
        await page.get_by_role("link", name="Questions open and answered").click()
        await expect(page.locator(".question-answer", has_text="dist/")).to_be_visible()
        await stage.goto(page, "/settings")
        await page.get_by_label("vibec0re").check()
        await page.get_by_role("button", name="Keep").click()
        await expect(page.get_by_role("heading", name="Settings")).to_contain_text("S3TT1NGS")

    play(scenario)

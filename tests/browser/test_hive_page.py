"""The first page in a real Chromium: needs are met there, work in hand survives updates, the keyboard works."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest
from playwright.async_api import Route, ViewportSize, expect
from tests.browser.everything import NEEDS, everything
from tests.browser.stage import PHONE, RESET, WIDE, Play, Stage, no_sideways_scroll, resets

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

SELECTED: Final = """() => {
  const field = document.activeElement;
  return field.value.slice(field.selectionStart, field.selectionEnd);
}"""
TOP: Final = "(one) => one.getBoundingClientRect().top"
BOTTOM: Final = "(one) => one.getBoundingClientRect().bottom"


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_what_needs_the_operator_is_answered_in_its_place(play: Callable[[Play], None], viewport: ViewportSize) -> None:
    async def scenario(stage: Stage) -> None:
        other, page = await stage.page(WIDE), await stage.page(viewport)
        await everything(stage)
        await expect(page.locator("#needs > li")).to_have_count(NEEDS)
        await expect(page).to_have_title(f"({NEEDS}) Hive · hyperhive")
        assert "needs" in (await page.locator("#icon").get_attribute("href") or "")
        await no_sideways_scroll(page)

        release = page.locator(".need", has_text="release be called")
        await release.get_by_label("Bea").check()
        await release.get_by_role("button", name="Answer").click()
        push = page.locator(".need-permission")
        await push.get_by_role("button", name="Once").click()
        letters = page.locator(".need-dead")
        await letters.get_by_role("button", name="Send again").click()
        await page.locator(".need-flood").get_by_role("button", name="Dismiss").click()
        circle = page.locator(".need-loop")
        await circle.get_by_text("Write…").click()
        button, box = circle.locator("summary"), circle.locator(".confirm-box")
        assert 0 <= await box.evaluate(TOP) - await button.evaluate(BOTTOM) < 150
        await circle.locator("textarea").fill("That is enough of it.")
        await circle.get_by_role("button", name="Send").click()
        for seen in (page, other):
            await expect(seen.locator(".need", has_text="release be called")).to_contain_text("operator: Bea")
            await expect(seen.locator(".need-permission .settled")).to_contain_text("once")
            await expect(seen.locator(".need-dead .settled")).to_contain_text("No dead letters are left")
            await expect(seen.locator(".need-flood .settled")).to_contain_text("is seen to")
            await expect(seen.locator(".need-loop .settled")).to_contain_text("is seen to")
            await expect(seen).to_have_title(f"({NEEDS - 5}) Hive · hyperhive")
        await no_sideways_scroll(page)

    play(scenario)


def test_work_in_hand_survives_that_the_page_is_drawn_anew(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(PHONE)
        await everything(stage)
        await expect(page.locator("#needs > li")).to_have_count(NEEDS)
        delete = page.locator(".need", has_text="may I delete")
        await delete.get_by_label("dist/").check()
        await delete.locator("textarea").fill("and nothing else")
        thread = page.locator("#inbox .letter", has_text="scout looks into it")
        await thread.get_by_text("Reply").click()
        await thread.locator("textarea").fill("go on")
        await page.get_by_text("New agent").click()
        await page.get_by_label("Name").fill("fresh")
        await delete.locator("textarea").focus()
        await page.keyboard.press("Home")
        await page.keyboard.press("Shift+ArrowRight")
        assert await page.evaluate("() => window.scrollY") > 0
        top = await delete.locator("textarea").evaluate(TOP)

        for _ in range(2):
            await resets(page)
            await expect(delete.get_by_label("dist/")).to_be_checked()
            await expect(delete.get_by_label("build/")).not_to_be_checked()
            await expect(delete.locator("textarea")).to_have_value("and nothing else")
            await expect(delete.locator("textarea")).to_be_focused()
            assert await page.evaluate(SELECTED) == "a"
            await expect(thread.locator("textarea")).to_be_visible()
            await expect(thread.locator("textarea")).to_have_value("go on")
            await expect(page.get_by_label("Name")).to_have_value("fresh")
            assert abs(await delete.locator("textarea").evaluate(TOP) - top) < 2

    play(scenario)


def test_a_form_does_a_thing_once_and_comes_back_after_an_error(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        posted: list[str] = []
        released = asyncio.Event()

        async def held(route: Route) -> None:
            posted.append(route.request.url)
            await released.wait()
            await (route.abort() if len(posted) == 1 else route.continue_())

        await page.route("**/send", held)
        compose = page.locator("#compose")
        await compose.locator("textarea").fill("once, please")
        send = compose.get_by_role("button", name="Send")
        await send.dblclick()
        await expect(compose).to_have_attribute("aria-busy", "true")
        await page.keyboard.press("Control+Enter")
        released.set()
        await expect(compose.locator(".is-error")).to_contain_text("The dashboard does not answer")
        await expect(compose.locator("textarea")).to_have_value("once, please")
        await expect(send).to_be_enabled()
        assert len(posted) == 1
        stage.complaints.clear()  # the browser names the request that was cut off

        await send.click()
        await expect(page.locator("#flow .message", has_text="once, please")).to_have_count(1)
        await expect(compose.get_by_role("button", name="Send")).to_be_enabled()
        assert len(posted) == 2

    play(scenario)


def test_names_are_completed_and_a_word_to_everyone_reaches_all(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.scene.agent("ada")
        await stage.scene.state("ada")
        page = await stage.page(WIDE)
        field = page.locator("#compose textarea")
        await expect(page.locator("#compose option")).to_have_count(3)
        await field.press_sequentially("@a")
        await expect(page.get_by_role("option", name="@ada")).to_have_attribute("aria-selected", "true")
        await field.press("Enter")
        await expect(page.locator("#compose select")).to_have_value("ada")
        await field.press_sequentially("look at what @h")
        await field.press("Tab")
        await field.press_sequentially("does")
        await expect(field).to_have_value("look at what @hm1nd does")
        await field.press("Control+Enter")
        await expect(page.locator("#compose")).to_contain_text("Sent to ada")

        await page.locator("#compose textarea").fill("@everyone stop here")
        await page.locator("#compose textarea").press("Escape")
        await page.locator("#compose").get_by_role("button", name="Send").click()
        await expect(page.locator("#compose")).to_contain_text("Sent to everyone")
        await expect(page.locator("#flow .message", has_text="stop here")).to_have_count(2)

    play(scenario)


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


def test_a_browser_that_was_told_so_notifies_of_what_is_new(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.context.grant_permissions(["notifications"])
        await page.add_init_script(
            "window.notes = []; const real = window.Notification; document.hasFocus = () => false;"
            "window.Notification = class extends real {"
            "  constructor(title, how) { super(title, how); notes.push(how.body); } };"
        )
        await stage.goto(page, "/settings")
        await page.get_by_role("button", name="Turn on").click()
        await expect(page.locator("[data-notify-said]")).to_have_text("On in this browser.")
        await stage.goto(page, "/")
        await everything(stage)
        await expect(page.locator("#needs > li")).to_have_count(NEEDS)
        assert "lin needs a sign-in" in await page.evaluate("() => window.notes")

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


def test_a_page_that_cannot_be_drawn_anew_says_so_and_tries_again(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        failures = iter(("abort", "503", "abort"))

        async def fail(route: Route) -> None:
            match next(failures, ""):
                case "abort":
                    await route.abort()
                case "503":
                    await route.fulfill(status=503, body="not now")
                case _:
                    await route.continue_()

        await page.route(f"{stage.process.address}/", fail)
        await page.evaluate("() => { document.getElementById('main').old = true; }")
        await page.evaluate(RESET)
        await expect(page.locator("#link-state")).to_contain_text("what you see is from")
        await page.wait_for_function("() => !document.getElementById('main').old")
        await expect(page.locator("#link-state")).to_be_hidden()
        await stage.scene.send("operator", "hm1nd", "there again")
        await expect(page.locator("#flow")).to_contain_text("there again")
        stage.complaints.clear()  # what the browser said of the answers that failed

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

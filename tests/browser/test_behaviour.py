"""How pages behave while the hive goes on: one stream each, ages that move, work in hand that stays, Redis away."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from playwright.async_api import Locator, expect
from tests.browser.everything import everything
from tests.browser.stage import PHONE, WIDE, Play, Stage, no_sideways_scroll
from tests.support.redis_server import RedisServer

from hive_contracts.agents import ModelView, TurnState

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

MARKED: Final = "() => window.getSelection().toString()"
COUNTED: Final = """window.streams = 0;
const Real = EventSource;
window.EventSource = class extends Real { constructor(...all) { super(...all); window.streams += 1; } };"""
LIVE: Final = ("/", "/agents/hm1nd", "/messages", "/questions", "/approvals", "/dead-letters")
LONGEST: Final = "an-agent-of-thirty-one-letters1"


async def mark_words(within: Locator) -> str:
    """Selects its text as a mouse does; the words."""
    await within.evaluate("(one) => window.getSelection().selectAllChildren(one)")
    words: str = await within.page.evaluate(MARKED)
    assert words
    return words


def test_the_head_of_an_agent_says_what_it_waits_for_and_with_which_model(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.clock.install()
        await stage.goto(page, "/agents/hm1nd")
        head = page.locator("#head")
        badge = head.locator(".badge")
        until = datetime.now(UTC) + timedelta(hours=2, minutes=30)
        exact = f"{until:%d %b %H:%M} UTC"

        await stage.scene.state("hm1nd", TurnState.COMPACTING, detail="the conversation")
        await expect(badge).to_contain_text("compacting")
        await stage.scene.state("hm1nd", TurnState.NAPPING, until=until)
        await expect(badge).to_have_text("napping2 h left")
        await expect(head.locator(".head-detail")).to_have_text(f"until {exact}")
        await page.clock.fast_forward(2 * 3600 * 1000)
        await expect(badge).to_contain_text("min left")
        await stage.scene.state("hm1nd", TurnState.RATE_LIMITED, until=until, detail="the weekly limit")
        await expect(badge).to_contain_text("rate limited")
        await expect(head.locator(".head-detail")).to_have_text(f"resets at {exact}: the weekly limit")

        model = head.locator(".model-chip")
        await stage.scene.state("hm1nd", model=ModelView(active="haiku", queued="opus"))
        await expect(model).to_have_text("Model haiku then opus")
        await stage.scene.state("hm1nd", model=ModelView(active="opus", last_switched=datetime.now(UTC)))
        await expect(model).to_contain_text("opus switched")

    play(scenario)


def test_ages_go_on_by_themselves_and_tell_the_exact_time_on_hover(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.clock.install()
        await stage.scene.send("operator", "hm1nd", "what time is it?")
        await stage.goto(page, "/messages")
        age = page.locator("#flow .message", has_text="what time").locator("time")
        await expect(age).to_be_visible()
        sent = datetime.fromisoformat(await age.get_attribute("datetime") or "")
        assert await age.get_attribute("title") == f"{sent:%Y-%m-%d %H:%M:%S} UTC"
        await page.clock.fast_forward(3 * 3600 * 1000)
        await expect(age).to_have_text("3 h")

    play(scenario)


def test_what_is_marked_unfolded_and_typed_stays_while_an_agent_changes(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await stage.goto(page, "/agents/hm1nd")
        await page.get_by_text("Model…").click()
        field = page.get_by_label("From its next turn on")
        await field.fill("opus")
        await field.press("Home")
        await field.press("Shift+ArrowRight")
        for state, word in ((TurnState.THINKING, "thinking"), (TurnState.PAUSED, "paused"), (TurnState.IDLE, "idle")):
            await stage.scene.state("hm1nd", state)
            await expect(page.locator("#head .badge")).to_contain_text(word)
            await expect(field).to_be_visible()
            await expect(field).to_have_value("opus")
            await expect(field).to_be_focused()
            assert await field.evaluate("(one) => one.value.slice(one.selectionStart, one.selectionEnd)") == "o"

        await page.keyboard.press("Escape")
        words = await mark_words(page.locator("#head h1"))
        await stage.scene.state("hm1nd", TurnState.THINKING)
        await expect(page.locator("#head .badge")).to_contain_text("thinking")
        assert await page.evaluate(MARKED) == words == "hm1nd"

    play(scenario)


def test_each_page_that_is_live_opens_one_stream(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.add_init_script(COUNTED)
        for path in LIVE:
            await stage.goto(page, path)
            await page.wait_for_function("() => window.streams > 0")
            assert await page.evaluate("() => window.streams") == 1, path

    play(scenario)


def test_a_redis_that_is_away_is_said_on_an_open_page_until_it_is_back(
    play: Callable[[Play], None], redis: RedisServer
) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.locator("#compose textarea").fill("not lost")
        await expect(page.locator("#banners p")).to_have_count(0)
        await asyncio.to_thread(redis.kill)
        await expect(page.locator("#banners")).to_contain_text("Redis is away, what you see may be old.")
        await asyncio.to_thread(redis.start)
        await expect(page.locator("#banners")).not_to_contain_text("Redis is away")
        await expect(page.locator("#compose textarea")).to_have_value("not lost")

    play(scenario)


def test_no_page_scrolls_sideways_for_the_longest_name(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.scene.agent(LONGEST)
        await stage.scene.state(LONGEST, TurnState.THINKING)
        first = await everything(stage)
        page = await stage.page(PHONE)
        await expect(page.locator("#agents")).to_contain_text(LONGEST)
        for path in (*LIVE, f"/agents/{LONGEST}", f"/agents/{LONGEST}/stats", f"/messages/{first}", "/settings"):
            await stage.goto(page, path)
            await no_sideways_scroll(page)

    play(scenario)

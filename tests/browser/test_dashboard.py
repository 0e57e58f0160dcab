"""The dashboard in a real Chromium: sign in, send, and watch the answer arrive. Screenshots go to artifacts/."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import ViewportSize, expect
from tests.browser.stage import ARTIFACTS, PHONE, WIDE, Play, Stage, no_sideways_scroll

from hive_contracts import streams
from hive_contracts.agents import ContainerStatus, Desired, TurnOutcome, TurnState
from hive_contracts.envelope import Envelope
from hive_contracts.questions import AskQuestion
from hive_contracts.turns import TurnNote, TurnStderr, TurnText, TurnThinking, TurnToolCall, TurnToolResult

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def one_turn(stage: Stage, answer: str) -> None:
    """hm1nd takes its next message up and answers the operator."""
    entry_id, message = await stage.scene.take("hm1nd")
    turn = await stage.scene.begin("hm1nd", message)
    await turn.say(TurnText, text=f"thinking about: {message.body}")
    await stage.scene.send("hm1nd", "operator", answer, in_reply_to=message.id)
    await turn.end(entry_id)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_an_answer_arrives_without_a_reload(play: Callable[[Play], None], viewport: ViewportSize) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(viewport)
        await page.evaluate("window.neverReloaded = true")
        await page.locator("#compose textarea").fill("what is up?")
        await page.locator("#compose button").click()
        await expect(page.locator("#compose")).to_contain_text("Sent to hm1nd")
        await expect(page.locator("#compose textarea")).to_have_value("")
        row = page.locator("#flow .message", has_text="what is up?")
        await expect(row).to_contain_text("delivered")

        await page.locator("#compose textarea").fill("half a sentence I am still")
        await page.locator("#compose textarea").focus()
        await one_turn(stage, "all is well")
        letter = page.locator("#inbox .letter", has_text="all is well")
        await expect(letter).to_be_visible()
        await expect(row.locator(".chip")).to_have_text("acked")
        await expect(page).to_have_title("• Hive · hyperhive")
        await expect(page.locator("#compose textarea")).to_have_value("half a sentence I am still")
        await expect(page.locator("#compose textarea")).to_be_focused()

        await letter.get_by_text("Reply").click()
        await letter.locator("textarea").fill("thank you")
        await letter.get_by_role("button", name="Send").click()
        await expect(page.locator("#flow")).to_contain_text("thank you")
        await expect(letter).to_contain_text("read")
        await expect(page).to_have_title("Hive · hyperhive")
        assert await page.evaluate("window.neverReloaded")
        await no_sideways_scroll(page)

    play(scenario)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_turn_is_seen_as_it_happens_and_reading_is_not_disturbed(
    play: Callable[[Play], None], viewport: ViewportSize
) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(viewport)
        await stage.goto(page, "/agents/hm1nd")
        await stage.scene.send("operator", "hm1nd", "dig")
        entry_id, message = await stage.scene.take("hm1nd")
        turn = await stage.scene.begin("hm1nd", message)
        await expect(page.locator("#head")).to_contain_text("thinking")
        await turn.say(TurnToolCall, call_id="1", name="Bash", input={"command": "ls"})
        await turn.say(TurnToolResult, call_id="1", text="long result " * 40)
        fold = page.locator(".call .fold")
        await expect(fold).to_be_visible()
        await fold.locator("summary").click()
        for number in range(40):
            await turn.say(TurnText, text=f"line {number}.")
        log = page.locator("#turns")
        await expect(log).to_contain_text("line 39.")
        await expect(page.locator(".news")).to_be_hidden()
        await expect(fold).to_have_attribute("open", "")
        assert await log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 5")

        await log.evaluate("log => { log.scrollTop = 0; }")
        await turn.say(TurnText, text="one more.")
        await expect(page.locator(".news")).to_have_text("↓ 1 new")
        assert await log.evaluate("log => log.scrollTop") == 0
        await page.locator(".news").click()
        await expect(page.locator(".news")).to_be_hidden()
        await turn.end(entry_id)
        await expect(page.locator("#turns .turn-end")).to_contain_text("ok")
        await expect(page.locator("#head")).to_contain_text("idle")
        await expect(page.locator("#last-turn")).to_contain_text("took")
        await no_sideways_scroll(page)

    play(scenario)


def test_a_gap_is_healed_by_rendering_anew_and_what_was_typed_stays(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        stale = await page.locator("#main").get_attribute("sse-connect")
        assert stale is not None
        await page.locator("#compose textarea").fill("not lost")
        await page.evaluate(
            """stale => {
                 const main = document.getElementById("main");
                 main.setAttribute("sse-connect", stale.replace(/after=.*/, "after=0badcafe.1"));
                 const fresh = main.cloneNode(true); fresh.querySelector("#compose-keeper").remove();
                 fresh.querySelector(".area-side section").append(main.querySelector("#compose-keeper"));
                 main.replaceWith(fresh); htmx.process(fresh);
               }""",
            stale,
        )
        await page.wait_for_function(
            "() => !document.getElementById('main').getAttribute('sse-connect').includes('0badcafe')"
        )
        await expect(page.locator("#compose textarea")).to_have_value("not lost")
        await stage.scene.send("hm1nd", "operator", "after the gap")
        await expect(page.locator("#inbox")).to_contain_text("after the gap")

    play(scenario)


def test_an_error_stands_in_its_place_and_keeps_the_text(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.locator("#compose textarea").fill("x" * 5000)
        await page.locator("#compose button").click()
        await expect(page.locator("#compose .is-error")).to_contain_text("the limit is 4096")
        await expect(page.locator("#compose textarea")).to_have_value("x" * 5000)
        await expect(page.locator("#compose button")).to_be_enabled()

    play(scenario)


def test_an_agent_that_appears_can_be_written_to_without_a_reload(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(WIDE)
        await page.locator("#compose select").select_option("hm1nd")
        async with asyncio.TaskGroup() as group:
            supervisor = group.create_task(stage.scene.answer_commands())
            await page.get_by_text("New agent").click()
            await page.get_by_label("Name").fill("scout")
            await page.get_by_role("button", name="Make it").click()
            await expect(page.locator("#agents")).to_contain_text("scout")
            await expect(page.locator("#flash")).to_contain_text("scout is there")
            await page.locator("#card-scout").click()
            await page.get_by_text("Stop…").click()
            await page.get_by_role("button", name="Stop scout").click()
            await expect(page.locator("#flash")).to_contain_text("scout is stopped")
            await expect(page.locator("#head")).to_contain_text("stopped")
            await expect(page.locator("#controls")).to_contain_text("Start scout")
            supervisor.cancel()

    play(scenario)


def test_everything_works_without_javascript(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(PHONE, script=False)
        await page.locator("#compose textarea").fill("plain")
        await page.locator("#compose button").click()
        await expect(page.locator("#flash")).to_contain_text("Sent to hm1nd")
        await one_turn(stage, "plainly answered")
        letter = page.locator("#inbox .letter", has_text="plainly answered")

        async def reload_until_there() -> None:
            while not await letter.count():
                await page.reload()

        async with asyncio.timeout(20):
            await reload_until_there()
        await letter.get_by_role("button", name="Mark read").click()
        await stage.goto(page, "/agents/hm1nd")
        await expect(page.locator("#turns")).to_contain_text("thinking about: plain")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    play(scenario)


async def furnish(stage: Stage) -> str:
    """A hive with something of everything in it; returns the first message's id."""
    scene = stage.scene
    await scene.info("Agents run as plain child processes: bubblewrap is not installed. Install it, or trust them.")
    for name in ("scout", "reviewer", "builder"):
        await scene.agent(name)
    await scene.state("scout")
    await scene.state("reviewer", TurnState.RATE_LIMITED, detail="resets at 14:00")
    stopped = {"container": ContainerStatus.STOPPED, "desired": Desired.STOPPED}
    await scene.register(scene.records["builder"].model_copy(update=stopped))
    await scene.send("operator", "hm1nd", "Please look at the failing build:\n\n    ImportError: no name 'Feed'")
    entry_id, message = await scene.take("hm1nd")
    turn = await scene.begin("hm1nd", message)
    await turn.say(TurnNote, text="session resumed")
    await turn.say(TurnThinking, text="An import error.\nLook at the module first.")
    await turn.say(TurnText, text="I look at the log first, then hand it to scout.")
    await turn.say(TurnToolCall, call_id="1", name="Bash", input={"command": "git log --oneline -5 && pytest -x"})
    await turn.say(TurnToolResult, call_id="1", text="E   ImportError: cannot import name 'Feed'\n" * 12)
    await turn.say(TurnToolCall, call_id="2", name="Read", input={"file_path": "/state/notes.md"})
    await turn.say(TurnToolResult, call_id="2", text="File does not exist.", is_error=True)
    await scene.send("hm1nd", "scout", "Find out when Feed was renamed, please.", cause=message.id)
    await scene.send("hm1nd", "operator", "scout looks into it; I report when it is fixed.", in_reply_to=message.id)
    await turn.say(TurnStderr, text="warning: the index is slow to load")
    await scene.live_raw("hm1nd", "turn.surprise", {"turn_id": turn.id, "seq": 90, "what": "<b>new</b>"})
    await turn.say(TurnText, text="Done: scout is on it.")
    await turn.end(entry_id, cost_usd=0.0421)
    _, second = await scene.take("scout")
    await (await scene.begin("scout", second)).say(TurnText, text="Looking at the history.")
    for number in range(4):
        await scene.send("operator", "reviewer", f"Review of patch {number}, when your limit is back.")
    return message.id


def test_pages_fit_their_window_and_are_kept_as_pictures(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        message_id = await furnish(stage)
        paths = {
            "home": "/",
            "agent": "/agents/hm1nd",
            "messages": "/messages",
            "message": f"/messages/{message_id}",
        }
        for size, viewport in (("wide", WIDE), ("phone", PHONE)):
            for scheme in ("light", "dark"):
                page = await stage.page(viewport, scheme=scheme)
                for name, path in paths.items():
                    await stage.goto(page, path)
                    await expect(page.locator(".avatar, .message").first).to_be_visible()
                    await no_sideways_scroll(page)
                    await page.screenshot(path=ARTIFACTS / f"{name}-{size}-{scheme}.png", full_page=size == "phone")
                await page.context.close()

    play(scenario)


async def asks(stage: Stage, question: str, **facts: Any) -> None:
    """hm1nd asks the operator."""
    envelope = Envelope.of(AskQuestion(question=question, **facts), source="hm1nd")
    await stage.scene.bus.append(streams.outbox("hm1nd"), envelope)


def test_two_operators_see_a_question_and_its_answer_at_once(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        one, other = await stage.page(WIDE), await stage.page(PHONE)
        await asks(stage, "What shall we call the bee?", options=("Clementine", "Bea"), ttl_seconds=600)
        await asks(stage, "And the wasp?")
        for page in (one, other):
            await expect(page.locator("#needs .need")).to_have_count(2)
        wasp = other.locator(".question", has_text="wasp").locator("textarea")
        await wasp.fill("half a sentence I am still")

        bee = one.locator(".question", has_text="the bee")
        await expect(bee).to_contain_text("expires in 9 min")
        await bee.get_by_label("Clementine").check()
        await bee.get_by_role("button", name="Answer").click()
        await expect(one.locator("#flash")).to_contain_text("Answered.")
        for page in (one, other):
            closed = page.locator(".question", has_text="the bee")
            await expect(closed).to_contain_text("operator: Clementine")
            await expect(closed.get_by_role("button")).to_have_count(0)
        await expect(wasp).to_have_value("half a sentence I am still")
        await no_sideways_scroll(other)

        await one.locator(".question", has_text="wasp").get_by_role("button", name="Cancel").click()
        await expect(other.locator(".question", has_text="wasp")).to_contain_text("cancelled by operator")

    play(scenario)


def test_a_question_is_answered_without_javascript(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await asks(stage, "Which ones?", options=("A", "B", "C"), multi=True)
        page = await stage.page(WIDE, script=False)
        while not await page.locator(".question").count():
            await page.reload()
        for option in ("A", "C"):
            await page.get_by_label(option, exact=True).check()
        await page.locator(".question textarea").fill("and D")
        await page.get_by_role("button", name="Answer").click()
        await expect(page.locator("#flash")).to_contain_text("Answered.")
        await stage.goto(page, "/questions")
        await expect(page.locator(".question-answer")).to_have_text("operator: A\nC\nand D")

    play(scenario)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_dead_letter_shows_itself_and_is_sent_again(play: Callable[[Play], None], viewport: ViewportSize) -> None:
    async def scenario(stage: Stage) -> None:
        home = await stage.page(viewport)
        letters = await home.context.new_page()
        await stage.goto(letters, "/dead-letters")
        await expect(letters.locator("#main")).to_contain_text("No dead letters.")
        link = home.locator("#nav-dead")
        await expect(link).to_be_hidden()
        await stage.scene.send("operator", "hm1nd", "poison")
        entry_id, message = await stage.scene.take("hm1nd")
        for _ in range(5):
            turn = await stage.scene.begin("hm1nd", message)
            await turn.end(entry_id, TurnOutcome.ENGINE_CRASHED, reason="exit status 9")

        await expect(link).to_have_text("Dead letters 1")
        letter = letters.locator(".message", has_text="poison")
        await expect(letter).to_contain_text("5 tries failed, the last with: engine_crashed: exit status 9")
        await no_sideways_scroll(letters)
        await letters.screenshot(path=ARTIFACTS / f"dead-letters-{viewport['width']}.png", full_page=True)

        await letter.get_by_role("button", name="Send again").click()
        await expect(letters.locator("#main")).to_contain_text("No dead letters.")
        await expect(link).to_be_hidden()
        _, again = await stage.scene.take("hm1nd")
        assert again.id == message.id

    play(scenario)

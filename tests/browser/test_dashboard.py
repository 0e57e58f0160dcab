"""The dashboard in a real Chromium: sign in, send, and watch the answer arrive. Screenshots go to artifacts/."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect
from tests.dashboard.process import DashboardProcess, dashboard_process, free_port
from tests.dashboard.scene import Scene, brokered
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.agents import ContainerStatus, Desired, TurnOutcome, TurnState
from hive_contracts.envelope import Envelope
from hive_contracts.questions import AskQuestion
from hive_contracts.turns import TurnNote, TurnStderr, TurnText, TurnThinking, TurnToolCall, TurnToolResult
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

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def _missing() -> str | None:
    if not Path(CHROMIUM).exists():
        return "there is no Chromium; install the package `chromium`"
    if not (STATIC / "vendor" / "htmx.min.js").exists():
        return "htmx is not there; install hyperhive once more, its build fetches it"
    return None


@pytest.fixture(autouse=True)
def needs_a_browser() -> None:
    """Skips where something is missing; under CI that is a failure."""
    reason = _missing()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


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


@pytest.fixture
def play(redis: RedisServer, tmp_path: Path) -> Callable[[Play], None]:
    """Runs a scenario on a stage; what the browser's console complained of fails it."""

    def run(scenario: Play) -> None:
        with dashboard_process(redis, tmp_path, free_port()) as process:

            async def main() -> None:
                async with httpx.AsyncClient(base_url=process.address) as http:
                    await process.answers(http, "/healthz", 200)
                async with _staged(redis, process) as stage:
                    await scenario(stage)
                    assert stage.complaints == []

            asyncio.run(main())

    return run


async def no_sideways_scroll(page: Page) -> None:
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert page.viewport_size is not None
    assert width <= page.viewport_size["width"]


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
        await expect(page).to_have_title("(1) Hive · hyperhive")
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
                 fresh.querySelector(".area-compose").append(main.querySelector("#compose-keeper"));
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


HOSTILE: Final = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    '" autofocus onfocus="document.title=1" x="',
    "{{ 7 * 7 }}",
    "[click](javascript:alert(1))",
    "\x1b[31mred\x1b]0;owned\x07",
    "invoice\u202egpj.exe",
    "Z" + "\u0335" * 60,
    "</textarea></pre><hr>",
    "data: x\n\nevent: reset\ndata: y",
    "long" * 500,
]


def test_nothing_that_an_agent_says_is_more_than_text(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await stage.page(PHONE)
        await stage.goto(page, "/agents/hm1nd")
        await stage.scene.send("operator", "hm1nd", "talk")
        entry_id, message = await stage.scene.take("hm1nd")
        turn = await stage.scene.begin("hm1nd", message)
        for number, text in enumerate(HOSTILE):
            await turn.say(TurnText, text=text)
            await turn.say(TurnToolCall, call_id=f"{text}{number}", name=text, input={text: text})
            await turn.say(TurnToolResult, call_id=f"{text}{number}", text=text, is_error=True)
            await stage.scene.send("hm1nd", "operator", text)
        await turn.end(entry_id)
        await expect(page.locator("#turns .turn-end")).to_contain_text("ok")
        assert await page.title() != "owned"
        assert await page.locator("#turns script, #turns img, #turns hr").count() == 0
        await no_sideways_scroll(page)
        await stage.goto(page, "/")
        await expect(page.locator("#inbox .letter")).to_have_count(len(HOSTILE))
        assert await page.locator("#inbox script, #inbox img, #inbox hr").count() == 0
        assert await page.locator("#inbox").get_by_text("invoice‹U+202E›gpj.exe").count() == 1
        await no_sideways_scroll(page)

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
            await expect(page.locator("#questions .question")).to_have_count(2)
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

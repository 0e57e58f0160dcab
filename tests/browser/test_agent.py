"""An agent's page in a real Chromium: history scrolled, searched and linked to, edits opened, commands completed."""

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from playwright.async_api import Page, ViewportSize, expect
from tests.browser.stage import ARTIFACTS, PHONE, WIDE, Play, Stage, no_sideways_scroll, resets
from tests.browser.test_accessibility import source
from tests.support.axe import violations
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.agents import TurnOutcome, TurnState
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.turns import TurnEnded, TurnEvent, TurnPartial, TurnStarted, TurnText, TurnToolCall, TurnToolResult
from hive_runtime.bus import Append, Batch
from hive_runtime.records.events import EventWriter

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

TURNS = 200
LINES = 6
HELD = 4000
"""So many rows are in the page at most while it is read back."""

PILED = 5000
MANY = 200

expect.set_options(timeout=20_000)  # of a machine that has much else to do


def history(data_dir: Path, *, first: int = 1_000_000, apart: int = 1) -> None:
    """Short turns of hm1nd, recorded before its live stream begins; `first`: milliseconds since 1970."""
    events: list[TurnEvent] = []
    for turn in range(TURNS):
        about = {"turn_id": f"old-{turn}"}
        events.append(TurnStarted(**about, seq=0, sender="operator", prompt=f"task {turn}", engine="scripted"))
        events += [TurnText(**about, seq=n + 1, text=f"**line** {turn}.{n}") for n in range(LINES)]
        events.append(TurnEnded(**about, seq=LINES + 1, outcome="ok", duration_ms=1500, cost_usd=0.01))
    told = [(f"{first + n * apart}-0", Envelope.of(event, source="hm1nd")) for n, event in enumerate(events)]
    with closing(EventWriter(data_dir / "agents" / "hm1nd" / "events.sqlite")) as writer:
        writer.record(told, position=told[-1][0])


async def tell(stage: Stage, *events: Payload) -> None:
    """Live events of hm1nd, all at once."""
    told = [Append(streams.live("hm1nd"), Envelope.of(event, source="hm1nd")) for event in events]
    await stage.scene.bus.write(Batch(appends=told))


async def opened(stage: Stage, viewport: ViewportSize, path: str = "", *, script: bool = True) -> Page:
    page = await stage.page(viewport, script=script)
    await stage.goto(page, f"/agents/hm1nd{path}")
    return page


TOP_ROW = """log => {
  const top = log.getBoundingClientRect().top;
  const row = [...log.querySelectorAll(".row")].find((one) => one.getBoundingClientRect().top >= top);
  return [row.id, Math.round(row.getBoundingClientRect().top - top)];
}"""


AT = f"place => String(({TOP_ROW})(document.getElementById('turns'))) === String(place)"


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_older_turns_come_in_as_they_are_scrolled_to_and_nothing_moves(
    play: Callable[[Play], None], viewport: ViewportSize
) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir)
        page = await opened(stage, viewport)
        log = page.locator("#turns")
        await expect(log).to_contain_text(f"line {TURNS - 1}.{LINES - 1}")
        assert await log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 5")
        for _ in range(3):
            before = await log.locator("article").count()
            await log.evaluate("log => { log.scrollTop = 40; }")
            place = await log.evaluate(TOP_ROW)
            await expect(log.locator("article").nth(before)).to_be_attached()
            row = page.locator(f"[id='{place[0]}']")
            moved = await row.evaluate(
                "(row, was) => Math.abs(row.getBoundingClientRect().top"
                " - document.getElementById('turns').getBoundingClientRect().top - was)",
                place[1],
            )
            assert moved <= 2
        ids = await log.evaluate("log => [...log.querySelectorAll('[id]')].map((one) => one.id)")
        assert len(ids) == len(set(ids))
        numbers = await log.evaluate(
            "log => [...log.querySelectorAll('.row')].map((row) => Number(row.id.slice(2, 9)))"
        )
        assert numbers == sorted(numbers)
        await no_sideways_scroll(page)

    play(scenario)


def test_the_open_stream_stays_small_and_what_left_it_comes_back(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await opened(stage, WIDE)
        await stage.scene.send("operator", "hm1nd", "talk for long")
        _, message = await stage.scene.take("hm1nd")
        turn = await stage.scene.begin("hm1nd", message)
        for number in range(700):
            await turn.say(TurnText, text=f"line {number}.")
        log = page.locator("#turns")
        await expect(log).to_contain_text("line 699.")
        await expect(log).not_to_contain_text("line 10.")
        assert await log.locator(".row").count() <= 520
        await log.evaluate("log => { log.scrollTop = 0; }")
        await expect(log).to_contain_text("line 260.")

    play(scenario)


async def short_turns(stage: Stage, first: int, end: int) -> None:
    for number in range(first, end):
        about = {"turn_id": f"turn-{number}"}
        await tell(
            stage,
            TurnStarted(**about, seq=0, sender="operator", prompt=f"task {number}.", engine="scripted"),
            TurnToolCall(**about, seq=1, call_id="a", name="Bash", input={"command": "true"}),
            TurnToolResult(**about, seq=2, call_id="a", text="done"),
            TurnEnded(**about, seq=3, outcome=TurnOutcome.OK, duration_ms=10),
        )


async def recorded(stage: Stage, words: str) -> bool:
    return words in (await stage.http.get("/api/v1/agents/hm1nd/events", params={"limit": 10})).text


NODES = "log => [log.querySelectorAll('.row').length, log.querySelectorAll('*').length]"


def test_who_reads_back_stays_where_they_are_while_thousands_of_rows_come(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir)
        page = await opened(stage, WIDE)
        await stage.scene.send("operator", "hm1nd", "talk for long")
        entry, message = await stage.scene.take("hm1nd")
        turn = await stage.scene.begin("hm1nd", message)
        await turn.say(TurnText, text="begun")
        log, news = page.locator("#turns"), page.locator(".news")
        await expect(log).to_contain_text("begun")
        await log.evaluate("log => { log.scrollTop = log.scrollHeight / 2; }")
        place = await log.evaluate(TOP_ROW)
        before = (await log.evaluate(NODES))[0]
        for first in range(0, PILED, 500):
            await tell(stage, TurnPartial(turn_id=turn.id, text="lin"))  # shown word by word: no row of its own
            await tell(
                stage, *(TurnText(turn_id=turn.id, seq=n + 2, text=f"line {n}.") for n in range(first, first + 500))
            )
            await expect(news).to_have_text(f"↓ {first + 500} new", timeout=30_000)
        rows, nodes = await log.evaluate(NODES)
        assert before < rows <= HELD
        assert nodes < 4 * HELD
        assert await log.evaluate(TOP_ROW) == place
        await turn.end(entry)
        await news.click()
        await expect(log).to_contain_text(f"line {PILED - 1}.")
        await expect(news).to_be_hidden()
        assert await log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 40")
        assert (await log.evaluate(NODES))[0] < 600

    play(scenario)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_who_reads_back_stays_where_they_are_when_the_page_is_drawn_anew(
    play: Callable[[Play], None], viewport: ViewportSize
) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir)
        await works(stage)
        await short_turns(stage, 0, 40)
        page = await opened(stage, viewport)
        log, edit = page.locator("#turns"), page.locator(".call-edit .diff").first
        await expect(log).to_contain_text("task 39.")
        await edit.locator("summary").click()
        await page.get_by_placeholder("Search its history").fill("half a wo")
        for _ in range(2):
            before = await log.locator("article").count()
            await log.evaluate("log => { log.scrollTop = 40; }")
            await expect(log.locator("article").nth(before)).to_be_attached()
        place = await log.evaluate(TOP_ROW)
        for first in (40, 50):
            await resets(page)
            await short_turns(stage, first, first + 10)
            await page.wait_for_function(AT, arg=place)
            await expect(edit.locator(".diff-added")).to_contain_text("import Stream as Feed")
            await expect(edit).to_have_attribute("open", "")
            await expect(page.get_by_placeholder("Search its history")).to_have_value("half a wo")
            await expect(page.locator(".news")).to_have_text("↓ Newest")
        await expect(log).not_to_contain_text("task 59.")

        await log.evaluate("log => { log.read = true; }")
        async with asyncio.timeout(30):
            while await log.evaluate("log => log.read"):
                await log.evaluate("log => { log.scrollTop += 800; }")
                await expect(log.locator(".further.htmx-request")).to_have_count(0)
        await expect(log).to_contain_text("task 59.")
        await expect(page.locator(".news")).to_be_hidden()
        await expect(page.get_by_placeholder("Search its history")).to_have_value("half a wo")
        await short_turns(stage, 60, 61)
        await expect(log).to_contain_text("task 60.")
        assert await log.evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 40")

    play(scenario)


def test_what_came_while_the_page_was_drawn_anew_is_read_on_from_there(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir)
        page = await opened(stage, WIDE)
        log = page.locator("#turns")
        await short_turns(stage, 0, 10)
        await expect(log).to_contain_text("task 9.")
        await log.evaluate("log => { log.scrollTop -= 1500; }")
        await resets(page)
        await short_turns(stage, 10, 400)
        await eventually(lambda: recorded(stage, "task 399."))
        async with asyncio.timeout(30):
            while await log.get_by_text("task 30.", exact=True).count() == 0:
                await log.evaluate("log => { log.scrollTop += 300; }")
        numbers = await log.evaluate(
            "log => [...log.textContent.matchAll(/task (\\d+)\\./g)].map((found) => Number(found[1]))"
        )
        assert numbers == list(range(len(numbers)))

    play(scenario)


def test_turns_that_left_the_open_stream_are_freed(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await opened(stage, WIDE)
        browser = await page.context.new_cdp_session(page)

        async def counts() -> dict[str, int]:
            await browser.send("HeapProfiler.collectGarbage")
            return dict(await browser.send("Memory.getDOMCounters"))

        async def many_turns(first: int) -> dict[str, int]:
            await short_turns(stage, first, first + MANY)
            await expect(page.locator("#turns")).to_contain_text(f"task {first + MANY - 1}.", timeout=30_000)
            await expect(page.locator("#turns article").last.locator(".outcome")).to_be_visible()
            return await counts()

        before = await many_turns(0)
        after = await many_turns(MANY)
        assert after["nodes"] < before["nodes"] * 1.2
        assert after["jsEventListeners"] < before["jsEventListeners"] * 1.2

    play(scenario)


def test_a_turn_has_an_address_and_words_are_found(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir)
        page = await opened(stage, WIDE, "?turn=old-17")
        await expect(page.locator("#turns article", has_text=re.compile(r"task 17\b"))).to_be_in_viewport()
        await expect(page.locator("#head .badge")).to_contain_text("idle")
        await stage.scene.state("hm1nd", TurnState.THINKING)
        await expect(page.locator("#head .badge")).to_contain_text("thinking")
        place = await page.locator("#turns").evaluate(TOP_ROW)
        await resets(page)
        await page.wait_for_function(AT, arg=place)
        await short_turns(stage, 0, 1)
        await eventually(lambda: recorded(stage, "task 0."))
        await expect(page.locator("#turns")).not_to_contain_text("task 0.")
        await page.get_by_placeholder("Search its history").fill("** 42.3")
        await page.keyboard.press("Enter")
        hit = page.locator(".hit")
        await expect(hit).to_have_count(1)
        await expect(hit.locator("mark")).to_have_text("** 42.3")
        await hit.locator("a").click()
        row = page.locator(".row:target")
        await expect(row).to_have_text("line 42.3")
        await expect(row).to_be_in_viewport()
        await page.get_by_role("link", name="Newest").click()
        await expect(page.locator("#turns")).to_contain_text(f"line {TURNS - 1}.0")
        await stage.goto(page, "/agents/hm1nd?q=nowhere")
        await expect(page.locator("#main")).to_contain_text("Nothing found.")

    play(scenario)


def test_history_can_be_read_without_javascript(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir)
        page = await opened(stage, PHONE, script=False)
        await page.get_by_role("link", name="Older").click()
        await expect(page.locator("#turns")).to_contain_text("line 150.0")
        await expect(page.locator("#turns")).not_to_contain_text(f"line {TURNS - 1}.0")
        await page.get_by_role("link", name="Newer").click()
        await expect(page.locator("#turns")).to_contain_text("line 175.0")
        await page.get_by_placeholder("Search its history").fill("task 3")
        await page.get_by_role("button", name="Search").click()
        await page.locator(".hit a", has_text="task 35").click()
        await expect(page.locator("#turns")).to_contain_text("line 35.5")
        await no_sideways_scroll(page)

    play(scenario)


BIG = "".join(f"def f{number}(x):\n    return x + {number}\n\n" for number in range(120))


async def works(stage: Stage, says: str = "I mend it.") -> None:
    """A turn with words, edits and commands."""
    await stage.scene.send("operator", "hm1nd", "mend it")
    entry, message = await stage.scene.take("hm1nd")
    turn = await stage.scene.begin("hm1nd", message)
    await turn.say(TurnText, text=says)
    output = "Exit code 2\n" + "E  boom\n" * 40
    edit = {"file_path": "/state/feed.py", "old_string": "import Feed\n", "new_string": "import Stream as Feed\n"}
    for call, name, given, result, error in (
        ("a", "Edit", edit, "The file has been updated.", False),
        ("b", "Write", {"file_path": "/state/big.py", "content": BIG}, "File created.", False),
        ("c", "Bash", {"command": "pytest -x", "description": "Run the tests"}, output, True),
        ("d", "Bash", {"command": "true"}, "", False),
    ):
        await turn.say(TurnToolCall, call_id=call, name=name, input=given)
        await turn.say(TurnToolResult, call_id=call, text=result, is_error=error)
    await turn.end(entry)


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_edits_open_as_diffs_and_commands_say_how_they_ended(
    play: Callable[[Play], None], viewport: ViewportSize
) -> None:
    async def scenario(stage: Stage) -> None:
        page = await opened(stage, viewport)
        await works(stage)
        small, big = page.locator(".call-edit .diff").nth(0), page.locator(".call-edit > .call-edits > .diff").nth(1)
        await expect(small.locator("summary")).to_have_text("/state/feed.py+1 −1")
        await expect(small.locator(".diff-lines")).to_be_hidden()
        await small.locator("summary").click()
        await expect(small.locator(".diff-added")).to_contain_text("import Stream as Feed")
        await expect(big.locator("summary").first).to_contain_text("/state/big.py+361 −0")
        await expect(big.locator(".diff-added")).to_have_count(0)
        await big.locator("summary").first.click()
        await expect(big.locator(".diff-added").nth(300)).to_be_attached()
        failed = page.locator(".call-command", has_text="pytest -x").locator(".result")
        await expect(failed).to_contain_text("exit 2")
        await expect(failed.locator(".fold > pre")).to_be_hidden()
        await failed.locator("summary").click()
        await expect(failed.locator(".fold > pre")).to_be_visible()
        await expect(page.locator(".result-ok:visible")).to_have_count(1)
        await no_sideways_scroll(page)
        await page.screenshot(path=ARTIFACTS / f"agent-edits-{viewport['width']}.png")

    play(scenario)


def test_a_large_edit_has_a_page_of_its_own_without_javascript(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        await works(stage)
        page = await opened(stage, PHONE, script=False)
        big = page.locator(".call-edit > .call-edits > .diff").nth(1)
        while not await big.count():
            await page.reload()
        await big.locator("summary").click()
        await big.get_by_role("link", name="Look at this edit").click()
        await expect(page.get_by_role("heading", name="Write")).to_be_visible()
        await expect(page.locator(".diff-added").nth(300)).to_be_attached()

    play(scenario)


def test_commands_are_completed_with_tab_and_unknown_ones_are_refused(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        page = await opened(stage, WIDE)
        line, offered = page.locator("#compose-body"), page.locator("#slash")
        await line.fill("/")
        await expect(offered.get_by_role("option")).to_have_count(11)
        await line.press_sequentially("co")
        await line.press("Tab")
        await expect(line).to_have_value("/compact")
        await line.fill("/mo")
        await line.press("Tab")
        await expect(line).to_have_value("/model ")
        await expect(line).to_be_focused()
        await expect(offered).to_be_hidden()
        await line.fill("/p")
        await line.press("ArrowDown")
        await line.press("Enter")
        await expect(line).to_have_value("/pause")
        await line.fill("/dance now")
        await line.press("Control+Enter")
        await expect(page.locator("#compose .is-error")).to_contain_text("there is no command /dance")
        await expect(line).to_have_value("/dance now")
        await line.fill("/help")
        await line.press("Control+Enter")
        await expect(page.locator("#compose")).to_contain_text("/nap SECONDS")
        inbox = (await stage.http.get("/api/v1/agents/hm1nd/inbox")).json()["messages"]
        assert inbox == []

    play(scenario)


MARKDOWN = "## Found\n\n1. [it](https://x.example/a)\n\n|a|b|\n|-|-:|\n|1|2|\n\n```py\nx = 1\n```\n\n> said"


def test_figures_renew_themselves_and_leave_what_is_read_where_it_is(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir, first=round((time.time() - 3500) * 1000), apart=2000)
        page = await opened(stage, WIDE, "/stats?range=1h")
        fold = page.locator("#chart-turns summary")
        await fold.click()
        rows = page.locator("#chart-turns-rows")
        await rows.evaluate("rows => { rows.scrollTop = 60; window.scrollTo(0, 150); }")
        await expect(page.locator("#outcomes-title + .ranks")).to_contain_text(f"{TURNS}")
        await works(stage)
        await expect(page.locator("#outcomes-title + .ranks")).to_contain_text(f"{TURNS + 1}")
        await expect(rows).to_be_visible()
        assert await rows.evaluate("rows => [rows.scrollTop, window.scrollY]") == [60, 150]
        await expect(fold).to_be_focused()

    play(scenario)


@pytest.mark.parametrize(("viewport", "scheme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_history_and_figures_can_be_read_by_everybody(
    play: Callable[[Play], None], viewport: ViewportSize, scheme: str
) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        history(stage.process.data_dir, first=round((time.time() - 3600) * 1000))
        await works(stage, MARKDOWN)
        page = await stage.page(viewport, scheme=scheme)
        await stage.goto(page, "/agents/hm1nd")
        await expect(page.locator(".md-table")).to_be_visible()
        await page.locator(".call-edit .diff > summary").first.click()
        await page.locator("#compose-body").fill("/")
        assert await violations(page, axe) == []
        await stage.goto(page, "/agents/hm1nd?q=line+19")
        assert await violations(page, axe) == []
        await stage.goto(page, "/agents/hm1nd/stats")
        slot = page.locator("#chart-turns .chart-slot").first
        await expect(slot.locator(".chart-said")).to_be_hidden()
        await slot.locator("rect").hover()
        await expect(slot.locator(".chart-said")).to_be_visible()
        await page.locator("#chart-turns summary").click()
        await expect(page.locator("#chart-turns tbody tr").first).to_be_visible()
        assert await violations(page, axe) == []
        await no_sideways_scroll(page)
        await page.screenshot(path=ARTIFACTS / f"stats-{viewport['width']}-{scheme}.png", full_page=True)

    play(scenario)

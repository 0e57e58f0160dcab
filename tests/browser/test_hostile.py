"""Every page, in the real browser, with hostile texts wherever an agent may write: none is more than text."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from playwright.sync_api import Browser
from playwright.sync_api import Page as SyncPage
from tests.browser.stage import PHONE, WIDE, Play, Stage, no_sideways_scroll
from tests.support.hostile_texts import DIRECTION, FINDINGS, HOSTILE, MARKUP, OWNED, SHAPES, TERMINAL, Hostile

from hive_contracts import streams
from hive_contracts.agents import ContainerStatus, ModelView, TurnOutcome, TurnState
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.envelope import Envelope
from hive_contracts.questions import AskQuestion
from hive_contracts.turns import TurnNote, TurnStderr, TurnText, TurnThinking, TurnToolCall, TurnToolResult
from hive_runtime.records.approvals import ApprovalWriter

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


async def talk(stage: Stage) -> None:
    """A turn that says each text in each way there is, and sends it."""
    await stage.scene.send("operator", "hm1nd", "talk")
    entry_id, message = await stage.scene.take("hm1nd")
    turn = await stage.scene.begin("hm1nd", message)
    for number, one in enumerate(HOSTILE):
        call = f"{one.text}{number}"
        for kind in (TurnText, TurnThinking, TurnNote, TurnStderr):
            await turn.say(kind, text=one.text)
        await turn.say(TurnToolCall, call_id=call, name=one.text[:200], input={one.text: one.text, "command": one.text})
        await turn.say(TurnToolResult, call_id=call, text=one.text, is_error=True)
        edit = {"file_path": one.text, "old_string": one.text, "new_string": f"{one.text}!"}
        await turn.say(TurnToolCall, call_id=f"e{number}", name="Edit", input=edit)
        await stage.scene.live_raw("hm1nd", "turn.surprise", {"turn_id": turn.id, "seq": 9000 + number, one.text: "x"})
        if one.text.strip():
            await stage.scene.send("hm1nd", "operator", one.text)
    await turn.end(entry_id, TurnOutcome.OK, reason=HOSTILE[0].text)


async def ask(stage: Stage, agent: str, one: Hostile) -> None:
    question = AskQuestion(question=one.text, options=(one.text[:180], "no"))
    await stage.scene.bus.append(streams.outbox(agent), Envelope.of(question, source=agent))


async def boast(stage: Stage) -> None:
    """Accounts that harnesses give of themselves, and what they ask; an agent each."""
    for number, one in enumerate(MARKUP[:6]):
        name, text = f"a{number}", one.text
        await stage.scene.agent(name, container=ContainerStatus.RUNNING, detail=text, engine_reason=text)
        await stage.scene.state(
            name,
            TurnState.NEEDS_LOGIN,
            detail=text[:500],
            model=ModelView(active=text, queued=text),
            effort=text[:40],
            session_id=text[:100],
            login_url=f"javascript:{text}"[:2000],
            broken_servers={text: text},
            harness_version=text[:40],
        )
        await ask(stage, name, one)


def propose(data_dir: Path) -> list[str]:
    """Approvals whose words, files and lines are hostile; their ids."""
    now = datetime.now(UTC)
    writer = ApprovalWriter(data_dir / "approvals.sqlite")
    lines = "\n".join(f"+{line}" for one in HOSTILE for line in one.text.split("\n"))
    ids = []
    for number, one in enumerate((*MARKUP[:3], *SHAPES[:1])):
        approval = ApprovalView(
            id=f"ap-{number:016}",
            kind=ApprovalKind.APPLY_COMMIT,
            agent="hm1nd",
            requester="hm1nd",
            state=ApprovalState.PENDING,
            commit="a" * 40,
            base="b" * 40,
            description=one.text,
            requested_at=now,
            expires_at=now + timedelta(days=1),
        )
        name = one.text.replace("\n", " ")
        diff = f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -0,0 +1 @@\n{lines}\n"
        writer.add(approval, diff.encode("utf-8", "replace").decode())
        ids.append(approval.id)
    writer.close()
    return ids


WIDER = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => `${one.localName}.${one.className}: ${one.textContent.trim().slice(0, 60)}`).slice(0, 8)"""
"""What widens a page that scrolls sideways."""


async def hold(page: Page, where: str) -> None:
    """The open page holds nothing of theirs but text."""
    assert await page.evaluate(FINDINGS) == [], where
    assert not (await page.title()).startswith(OWNED), where
    wide = await page.evaluate(WIDER)
    assert wide == [], where
    await no_sideways_scroll(page)


def test_nothing_that_an_agent_writes_is_more_than_text(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        approvals = propose(stage.process.data_dir)
        page = await stage.page(PHONE)
        await stage.goto(page, "/agents/hm1nd")
        await talk(stage)
        await boast(stage)
        await expect(page.locator("#turns .turn-end")).to_contain_text("ok")
        await hold(page, "the agent's page, as it happens")
        letters = (await stage.http.get("/api/v1/agents/operator/inbox?limit=500")).json()["messages"]
        paths = ("/", "/agents/hm1nd", "/agents/a0", "/agents/a5", "/messages", "/questions", "/approvals")
        further = ("/audit", "/settings", "/agents/a0/stats")
        for path in (*paths, *further, *(f"/approvals/{one}" for one in approvals), f"/messages/{letters[0]['id']}"):
            for viewport in (PHONE, WIDE):
                await page.set_viewport_size(viewport)
                await stage.goto(page, path)
                await hold(page, path)
        await stage.goto(page, "/agents/hm1nd")
        for one in (*TERMINAL, *DIRECTION):
            await expect(page.locator("#turns")).to_contain_text(one.shown)

    play(scenario)


UNTRIED = {"entities", "template", "half a tag", "out of a title", "redirect"}
"""As markup these do nothing by themselves, or take the page away that is looked at."""

AROUND = ("<p>{}</p>", '<p title="{}">x</p>', "<p title='{}'>x</p>")


def finds(page: SyncPage, markup: str) -> object:
    page.set_content(markup, wait_until="commit")
    return page.evaluate(FINDINGS)


def test_the_look_through_a_page_sees_what_is_not_text(browser: Browser) -> None:
    page = browser.new_page()
    for one in MARKUP:
        if one.name not in UNTRIED:
            assert any(finds(page, around.format(one.text)) for around in AROUND), one.name
    for one in (*TERMINAL, *DIRECTION):
        if one.shown.startswith("Z") or "\0" in one.text:
            continue
        page.set_content("<p></p>")
        page.evaluate("text => { document.querySelector('p').textContent = text; }", one.text)
        assert page.evaluate(FINDINGS), one.name
    page.close()

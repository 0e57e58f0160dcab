"""Every page, in the real browser, with hostile texts wherever an agent may write: none is more than text."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest
from playwright.async_api import Page, expect
from playwright.sync_api import Browser
from playwright.sync_api import Page as SyncPage
from tests.browser.stage import PHONE, WIDE, Play, Stage, no_sideways_scroll
from tests.dashboard.proposals import SHA, approval
from tests.dashboard.supervised import supervise
from tests.support.hostile_texts import DIRECTION, FINDINGS, HOSTILE, MARKUP, OWNED, SHAPES, TERMINAL, Hostile

from hive_contracts import streams
from hive_contracts.agents import AgentFlooding, CommandDone, ContainerStatus, ModelView, TurnOutcome, TurnState
from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_contracts.drafts import DraftView
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import LoopStopped, Message, MessageDead, MessageDelivered, MessageRefused, MessageState
from hive_contracts.questions import AskQuestion
from hive_contracts.retention import RetentionSwept, SweepRetention, Swept
from hive_contracts.turns import TurnNote, TurnStderr, TurnText, TurnThinking, TurnToolCall, TurnToolResult
from hive_dashboard.needs import REFUSALS
from hive_runtime.records.approvals import ApprovalWriter

STORED: Final = tuple(one for one in HOSTILE if "\ud800" not in one.text)
"""No store and no stream carries half a surrogate."""

SWEPT: Final = RetentionSwept(
    dry_run=True,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    seconds=1,
    removed=1,
    bytes_freed=1,
    errors=1,
    stores=tuple(Swept(name=one.text[:200], error=one.text) for one in STORED),
    streams=tuple(Swept(name=one.text[:200], error=one.text) for one in STORED),
)

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


async def found_on(page: Page) -> list[str]:
    """What the open page holds of theirs but text, and what is wider than it."""
    found = [*await page.evaluate(FINDINGS), *await page.evaluate(WIDER)]
    return [*found, "their title"] if (await page.title()).startswith(OWNED) else found


async def hold(page: Page, where: str) -> None:
    """The open page holds nothing of theirs but text."""
    assert await found_on(page) == [], where
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


def draft(data_dir: Path) -> None:
    """Drafts whose last commit is described so; an agent wrote it."""
    writer, now = ApprovalWriter(data_dir / "approvals.sqlite"), datetime.now(UTC)
    for number, one in enumerate(STORED):
        writer.keep_draft(
            DraftView(
                name=f"draft{number}", author="hm1nd", created_at=now, commit=SHA, subject=one.text, committed_at=now
            )
        )
    writer.close()


def name_files(data_dir: Path) -> None:
    """An approval with a file of each name, as git writes it and as it does not."""
    names = [one.text for one in STORED if "\n" not in one.text]
    quoted = [json.dumps(f"b/{name}") for name in names]
    plain = [f"b/{name}" for name in names]
    diff = "".join(
        f"diff --git {name} {name}\nnew file mode 100644\n--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+x\n"
        for name in (*quoted, *plain)
    )
    renamed = "".join(f"diff --git a/x {name}\nrename from x\nrename to {name[2:]}\n" for name in plain)
    writer = ApprovalWriter(data_dir / "approvals.sqlite")
    text = diff + renamed
    writer.add(approval("ap-names", agent="hm1nd", description=STORED[0].text), text)
    writer.close()


async def die(stage: Stage) -> None:
    """Dead letters with each text, given up for a reason that is one, too."""
    for number, one in enumerate(STORED):
        identity = message_id("hm1nd", str(number), "a0")
        message = Message(
            id=identity, sender="hm1nd", recipient="a0", body=one.text, sent_at=datetime.now(UTC), trace_id="t"
        )
        dead = MessageDead(message=message, state=MessageState.DEAD, reason=one.text, attempts=5, history=())
        for fact in (MessageDelivered(message=message), dead):
            step = Envelope.of(fact, source="broker", subject=message.id)
            await stage.scene.bus.append(streams.EVENTS, step)


def told(command: Envelope) -> CommandDone:
    """What a supervisor says of a configuration and of a sweep."""
    if command.type == SweepRetention.TYPE:
        result: dict[str, object] = SWEPT.model_dump(mode="json")
    else:
        at = datetime.now(UTC).isoformat()
        deployed = [
            {"approval": f"a-{n}", "commit": SHA, "at": at, "subject": one.text} for n, one in enumerate(STORED)
        ]
        text = "\n".join(f"# {one.text}" for one in STORED)
        result = {"main": SHA, "text": text, "files": [one.text for one in STORED], "deployed": deployed}
    return CommandDone(command=command.type, subject="hm1nd", result=result)


async def misbehave(stage: Stage) -> None:
    """Floods, stopped conversations and refused sends, whose recipients and reasons are hostile."""
    for number, one in enumerate(STORED[-20:]):
        to = one.text[:100]
        loop = LoopStopped(trace_id=f"t-{number}", sender="hm1nd", to=to, hop=33, reason=to)
        await stage.scene.tell(loop)
    for number, one in enumerate(MARKUP[:6]):
        await stage.scene.tell(AgentFlooding(agent=f"a{number}", reason=one.text, pause_seconds=1))
        refused = MessageRefused(sender=f"a{number}", to=one.text[:100], code="too_fast", reason=one.text)
        for _ in range(REFUSALS):
            await stage.scene.tell(refused)


async def act(stage: Stage) -> None:
    """Actions of the operator, about things and with words that are hostile: the audit has them."""
    for one in STORED:
        text = one.text[:90]
        await stage.http.post(f"/api/v1/dead-letters/{quote(text, safe='')}/redrive")
        await stage.http.post("/api/v1/messages", json={"to": text, "body": text})
        await stage.http.post("/api/v1/agents/hm1nd/model", json={"model": text})


def test_nor_is_it_where_it_is_seen_rarely(play: Callable[[Play], None]) -> None:
    async def scenario(stage: Stage) -> None:
        draft(stage.process.data_dir)
        name_files(stage.process.data_dir)
        supervisor = asyncio.create_task(supervise(stage.scene.bus, told))
        page = await stage.page(PHONE)
        await boast(stage)
        for number, one in enumerate(STORED):
            await ask(stage, f"a{number % 6}", one)
        await talk(stage)
        await die(stage)
        await misbehave(stage)
        await act(stage)
        await stage.scene.bus.hash_set(streams.RETENTION, {streams.REPORT_FIELD: SWEPT.model_dump_json()})
        await expect(page.locator(".need-loop")).to_have_count(20)
        await expect(page.locator(".need-refused")).to_have_count(6)
        await page.wait_for_selector("#nav-dead:not([hidden])")
        strange = quote("".join(one.text for one in STORED[:30])[:180], safe="")
        paths = ("/", "/dead-letters", "/agents/hm1nd/config", "/agents/draft0/config", "/approvals/ap-names")
        further = ("/retention", "/palette", "/agents/hm1nd/stats", "/agents/hm1nd/stats?range=1h", "/audit")
        asked = ("/questions", f"/audit?who={strange}", f"/agents/hm1nd?q={strange}", f"/messages?agent={strange[:60]}")
        lost = (f"/agents/{strange}", f"/messages/{strange}", f"/{strange}", f"/sign-in?next={strange}")
        found: dict[str, list[str]] = {}
        for path in (*paths, *further, *asked, *lost):
            for viewport in (PHONE, WIDE):
                await page.set_viewport_size(viewport)
                await stage.goto(page, path)
                found[f"{path} {viewport['width']}"] = await found_on(page)
        for button in ("What would go now?", "Sweep now"):
            await stage.goto(page, "/retention")
            await page.get_by_role("button", name=button).click()
            found[button] = await found_on(page)
        await stage.goto(page, "/")
        for one in MARKUP[:4]:
            await page.keyboard.press("Control+k")
            await page.keyboard.type(one.text)
            found[f"the palette, {one.name}"] = await found_on(page)
            await page.keyboard.press("Escape")
        assert {where: what for where, what in found.items() if what} == {}
        supervisor.cancel()
        stage.complaints.clear()  # that pages are not found is said on the console

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

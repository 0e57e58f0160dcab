"""Every kind of approval, a draft and a configuration by axe, wide and under a thumb, and the shots of them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from playwright.async_api import Page, expect
from tests.browser.stage import ARTIFACTS, PHONE, WIDE, Play, Stage
from tests.browser.test_accessibility import SMALL, WIDER, source
from tests.dashboard.proposals import OTHER, SHA, propose
from tests.dashboard.supervised import supervise
from tests.support.axe import violations

from hive_contracts.agents import CommandDone
from hive_contracts.approvals import ApprovalKind, ApprovalState, ReadConfig
from hive_contracts.drafts import DraftView
from hive_runtime.records.approvals import ApprovalWriter

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

BEFORE: Final = {
    "agent.toml": 'model = "haiku"\nbash_patterns = ["git *"]\nrecipients = ["bob"]\n\n[limits]\nmemory_mib = 2048\n',
    "seed/notes.md": "# Notes\n\nRead *everything* first.\n",
}
AFTER: Final = {
    "agent.toml": '# reviews\nmodel = "opus"\nbash_patterns = ["git *", "npm test"]\nrecipients = ["bob", "lin"]\n'
    'network = "host"\n\n[limits]\nmemory_mib = 1024\n\n[environment]\nTZ = "Europe/Vienna"\n',
    "seed/notes.md": "# Notes\n\nRead *everything* twice.\n",
    "seed/check.py": 'import sys\n\n\ndef check(path: str) -> int:\n    """All."""\n    return len(path)  # bytes\n',
    "seed/long.md": "".join(f"line {number}\n" for number in range(210)),
}
PATHS: Final = {
    "approvals": "/approvals",
    "change": "/approvals/a-change",
    "spawn": "/approvals/a-spawn",
    "purge": "/approvals/a-purge",
    "failed": "/approvals/a-failed",
    "config": "/agents/hm1nd/config",
    "drafts": "/",
}

SAME_ON_A_PHONE: Final = ("spawn", "failed")
"""Made of the same parts as others that are looked at there."""


def fill(stage: Stage) -> None:
    writer = ApprovalWriter(stage.process.data_dir / "approvals.sqlite")
    now = datetime.now(UTC)
    former = {**BEFORE, "agent.toml": AFTER["agent.toml"]}
    propose(writer, BEFORE, AFTER, former=former, identity="a-change", description="It reviews for lin, too.")
    propose(writer, {}, AFTER, identity="a-spawn", kind=ApprovalKind.SPAWN_COMMIT, agent="scout", base="", revives=True)
    propose(writer, {}, {}, identity="a-purge", kind=ApprovalKind.PURGE, commit="", base="")
    propose(writer, BEFORE, AFTER, identity="a-pattern", kind=ApprovalKind.PERMISSION_PATTERN, pattern="npm test")
    failed = propose(writer, BEFORE, AFTER, identity="a-failed", requested_at=now - timedelta(hours=1))
    error = "ada did not come up with it. Its last lines:\nTraceback (most recent call last):\nKeyError: 'x'"
    writer.move(failed, ApprovalState.FAILED, at=now, note="let us see", error=error)
    for name, author in (("scout", "hm1nd"), ("lin", "operator")):
        writer.keep_draft(
            DraftView(
                name=name,
                author=author,
                created_at=now - timedelta(hours=5),
                commit=OTHER,
                subject="Give it notes to begin with",
                committed_at=now - timedelta(minutes=12),
                revives=name == "scout",
            )
        )
    writer.close()


async def tell_configs(stage: Stage) -> None:
    """Be the supervisor that is asked for a configuration, until cancelled."""
    deployed = [
        {"approval": f"a-{sha[:2]}", "commit": sha, "at": datetime.now(UTC).isoformat(), "subject": "Read twice"}
        for sha in (SHA, OTHER)
    ]
    runs = {"main": SHA, "text": AFTER["agent.toml"], "files": ["seed/notes.md"], "deployed": deployed}
    done = CommandDone(command=ReadConfig.TYPE, subject="hm1nd", result=runs)
    await supervise(stage.scene.bus, lambda command: done)


async def unfold(page: Page) -> None:
    """Everything that is folded on the page, but for boxes that lie over others."""
    await page.evaluate(
        "() => { for (const one of document.querySelectorAll('details:not(.confirm)')) one.open = true; }"
    )


def test_axe_finds_nothing_on_the_pages_of_approvals(play: Callable[[Play], None]) -> None:
    axe = source()

    async def scenario(stage: Stage) -> None:
        for name in ("ada", "bob"):
            await stage.scene.agent(name)
            await stage.scene.state(name)
        fill(stage)
        supervisor = asyncio.create_task(tell_configs(stage))
        try:
            assert await everything_found(stage, axe) == {}
        finally:
            supervisor.cancel()
            await asyncio.wait([supervisor])

    play(scenario)


async def everything_found(stage: Stage, axe: str) -> dict[str, list[str]]:
    """What is wrong, by page and look."""
    ARTIFACTS.mkdir(exist_ok=True)
    found: dict[str, list[str]] = {}
    for viewport, scheme in ((WIDE, "light"), (PHONE, "dark")):
        page = await stage.page(viewport, scheme=scheme)
        await expect(page.locator("#needs > li")).to_have_count(4)
        for name, path in PATHS.items():
            if viewport is PHONE and name in SAME_ON_A_PHONE:
                continue
            await stage.goto(page, path)
            await unfold(page)
            where = f"{name}-{scheme}"
            await page.screenshot(path=ARTIFACTS / f"approval-{where}.png", full_page=True)
            found[where] = await violations(page, axe) + await page.evaluate(WIDER)
            if viewport is PHONE:
                found[where] += await page.evaluate(SMALL)
    return {where: what for where, what in found.items() if what}

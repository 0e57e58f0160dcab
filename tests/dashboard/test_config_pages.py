"""Drafts, configurations and the way back, as the operator sees them."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard import supervised
from tests.dashboard.proposals import BASE, OTHER, SHA, propose
from tests.dashboard.supervised import Played

from hive_contracts.agents import SpawnAgent
from hive_contracts.approvals import EditConfig, RollBackConfig
from hive_contracts.drafts import DiscardDraft, DraftView, TakeOverDraft
from hive_contracts.models import AgentConfig

AT = datetime(2026, 1, 1, tzinfo=UTC)
TEXT = 'model = "haiku"  # <script>alert(1)</script>\n'
RUNS: dict[str, Any] = {
    "main": SHA,
    "text": TEXT,
    "files": ["seed/notes.md"],
    "deployed": [
        {"approval": "a-2", "commit": SHA, "at": AT.isoformat(), "subject": "<i>second</i>"},
        {"approval": "a-1", "commit": BASE, "at": AT.isoformat(), "subject": "first"},
    ],
}


def play(folder: Path, story: Callable[[Played], Awaitable[None]]) -> None:
    supervised.play(folder, story, RUNS)


def draft(name: str = "lin", **facts: Any) -> DraftView:
    base = {"author": "hm1nd", "created_at": AT, "commit": SHA, "subject": "<b>seed</b>", "committed_at": AT}
    return DraftView(name=name, **(base | facts))


async def kept(stage: Played, *drafts: DraftView) -> None:
    for one in drafts:
        stage.writer.keep_draft(one)
    await stage.hive.dashboard.parts.snapshots.refresh()


def test_drafts_stand_on_the_hives_page_with_what_can_be_done(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        await kept(stage, draft(revives=True), draft("bob", author="operator"))
        page = await stage.page("/")
        assert "&lt;b&gt;seed&lt;/b&gt;" in page
        assert "revives kept state" in page
        assert 'href="/agents/lin/config"' in page
        deeds = re.findall(r'<form method="post" action="/drafts/([\w/-]+)"', page)
        assert deeds == ["bob/make", "bob/discard", "lin/take-over", "lin/discard"]

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("deed", "kind", "there"),
    [
        ("discard", DiscardDraft, "/"),
        ("take-over", TakeOverDraft, "/agents/lin/config"),
        ("make", SpawnAgent, "/agents/lin"),
    ],
)
def test_a_draft_is_discarded_taken_over_and_made_by_plain_forms(
    tmp_path: Path, deed: str, kind: type[Any], there: str
) -> None:
    async def story(stage: Played) -> None:
        await kept(stage, draft())
        answer = await stage.hive.post(f"/drafts/lin/{deed}")
        assert (answer.status_code, answer.headers["location"]) == (303, there)
        assert stage.done[0].payload(kind).name == "lin"
        stage.refusal = ("refused", "the draft of lin is hm1nd's")
        assert (await stage.hive.post(f"/drafts/lin/{deed}")).headers["location"] == "/"
        assert "the draft of lin is hm1nd&#39;s" in await stage.page("/")
        assert (await stage.hive.post("/drafts/lin/eat")).status_code == 404
        await stage.hive.post(f"/drafts/nobody/{deed}")
        assert len(stage.done) == 2

    play(tmp_path, story)


def test_open_pages_learn_of_a_draft(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        hub = stage.hive.dashboard.parts.hub
        follower = hub.follow("home", hub.cursor("home"))
        await anext(follower)
        await kept(stage, draft())
        told = ""
        while "event: drafts\n" not in told:
            told += (await anext(follower)).decode()
        assert 'id="draft-lin"' in told

    play(tmp_path, story)


def test_the_running_file_is_shown_with_what_was_deployed_before(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        page = await stage.page("/agents/ada/config")
        assert "<script>alert" not in page
        assert "&lt;i&gt;second" in page
        assert "runs now" in page
        assert "seed/notes.md" in page
        assert re.findall(r'name="approval" value="([\w-]+)"', page) == ["a-1"]
        assert SHA in page
        assert (await stage.hive.browser.get("/agents/NOT A NAME/config")).status_code == 422

    play(tmp_path, story)


def test_the_operators_change_is_deployed_on_what_was_looked_at(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, {}, {"agent.toml": TEXT}, identity="a-9")
        stage.result = {"approval": "a-9", "commit": OTHER}
        text = 'model = "opus"\r\n'
        answer = await stage.hive.post("/agents/ada/config", before=SHA, text=text, description=" bigger ")
        assert (answer.status_code, answer.headers["location"]) == (303, "/approvals/a-9")
        wish = stage.done[0].payload(EditConfig)
        assert (wish.name, wish.before, wish.text, wish.description) == ("ada", SHA, 'model = "opus"\n', "bigger")
        stage.result = {"commit": OTHER}
        answer = await stage.hive.post("/agents/ada/config", before=SHA, text=text)
        assert answer.headers["location"] == "/agents/ada/config"

    play(tmp_path, story)


def test_a_file_with_mistakes_comes_back_with_each_at_its_line(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        text = "model = 'opus'\nmodle = 1\n[limits]\npids = 0\n"
        answer = await stage.hive.post("/agents/ada/config", before=SHA, text=text, description="why")
        assert answer.status_code == 422
        said = " ".join(re.sub(r"<[^>]+>", "", answer.text).split())
        assert "line 2 modle: no such key" in said
        assert "line 4 limits.pids: Input should be greater than or equal to 32" in said
        assert "modle = 1\n" in answer.text
        assert 'value="why"' in answer.text
        assert '<details class="edit" id="edit" open>' in answer.text
        assert stage.done == []
        assert (await stage.hive.post("/agents/ada/config", before="x", text="")).status_code == 422

    play(tmp_path, story)


def test_a_change_of_what_runs_no_more_is_refused_and_kept_in_the_form(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        stage.refusal = ("refused", "main is at cccccccccccc, not at aaaaaaaaaaaa any more: look again")
        answer = await stage.hive.post("/agents/ada/config", before=SHA, text='effort = "low"\n')
        assert answer.status_code == 409
        assert "any more: look again" in answer.text
        assert "effort = &#34;low&#34;" in answer.text

    play(tmp_path, story)


def test_a_roll_back_leads_to_the_approval_that_stands_for_it(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        stage.result = {"approval": "a-9", "commit": OTHER}
        answer = await stage.hive.post("/agents/ada/rollback", approval="a-1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/approvals/a-9")
        wish = stage.done[0].payload(RollBackConfig)
        assert (wish.name, wish.approval) == ("ada", "a-1")
        csrf = await stage.hive.csrf()
        headers = {"origin": "http://127.0.0.1:7000", "hx-request": "true"}
        data = {"csrf": csrf, "approval": "a-1"}
        answer = await stage.hive.browser.post("/agents/ada/rollback", data=data, headers=headers)
        assert answer.headers["hx-redirect"] == "/approvals/a-9"
        stage.refusal = ("not_found", "a-1 is not among what was deployed for ada")
        answer = await stage.hive.post("/agents/ada/rollback", approval="a-1")
        assert answer.headers["location"] == "/agents/ada/config"
        assert "not among what was deployed" in await stage.page("/agents/ada/config")

    play(tmp_path, story)


def test_a_new_agent_gets_the_default_or_what_another_has(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        config = AgentConfig(model="opus", recipients=("hm1nd",))
        await stage.hive.scene.agent("ada", config=config)
        await stage.hive.sees_agent("ada")
        assert "as ada has it</option>" in await stage.page("/")
        await stage.hive.post("/agents", name="lin")
        await stage.hive.post("/agents", name="bob", like="ada")
        assert [one.payload(SpawnAgent).config for one in stage.done] == [AgentConfig(), config]
        refused = await stage.hive.post("/agents", name="zoe", like="nobody")
        assert refused.status_code == 404
        assert "there is no agent called &#39;nobody&#39; to be like" in refused.text
        assert 'value="zoe"' in refused.text

    play(tmp_path, story)

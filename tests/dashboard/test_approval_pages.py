"""What the operator sees of a request, and that an agent's text in it is nothing but text."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard.proposals import BASE, OTHER, SHA, approval, propose
from tests.dashboard.supervised import Played, play
from tests.support.waiting import until

from hive_contracts.approvals import ApprovalKind, ApprovalState, BaseKind
from hive_contracts.rights import Risk
from hive_dashboard.outlook import bases_of, outlook_of
from hive_runtime.records.approvals import AgentFiles, StoredDiff

BEFORE = {"agent.toml": 'model = "haiku"\nbash_patterns = ["ls"]\n', "seed/notes.md": "one\n"}
AFTER = {
    "agent.toml": 'model = "haiku"\nbash_patterns = ["ls", "git *"]\ndescription = "<script>alert(1)</script>"\n',
    "seed/notes.md": "two\n",
}


def test_a_request_is_listed_shown_and_decided_by_plain_forms(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER)
        assert "&lt;b&gt;better&lt;/b&gt;" in await stage.page("/approvals")
        page = await stage.page("/approvals/a-1")
        assert "<script>alert" not in page
        assert SHA in page
        answer = await stage.decide("a-1", "deny", note="no")
        assert (answer.status_code, answer.headers["location"]) == (303, "/approvals/a-1")
        (wish,) = stage.wishes
        assert (wish.id, wish.decision, wish.commit, wish.note) == ("a-1", "deny", SHA, "no")
        page = await stage.page("/approvals/a-1")
        assert "denied" in page
        assert "Denied: who asked is told so." in page
        assert 'name="decision"' not in page

    play(tmp_path, story)


def test_the_page_says_what_changes_in_words_in_settings_and_in_files(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER)
        page = " ".join((await stage.page("/approvals/a-1")).split())
        assert "1 wider right<" in page
        assert '<span class="right-mark">more</span>' in page
        assert "may now run any <code>git</code> command without asking" in page.replace('<span dir="auto">', "")
        assert "[&#34;ls&#34;, &#34;git *&#34;]" in page
        assert "1 more setting as before" in page
        assert page.count('class="diff"') == 2
        alone = await stage.page("/approvals/a-1?file=seed/notes.md")
        assert alone.count('class="diff"') == 1
        assert "All files" in alone

    play(tmp_path, story)


def test_the_base_is_switched_by_a_link(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER, former={**AFTER, "seed/notes.md": "between\n"})
        page = await stage.page("/approvals/a-1")
        links = re.findall(r'href="(/approvals/a-1\?base=\w+)"', page)
        assert links == ["/approvals/a-1?base=running", "/approvals/a-1?base=previous_proposal"]
        other = await stage.page(links[1])
        assert "between" in other
        assert other.count('class="diff"') == 1
        assert OTHER[:7] in other
        assert BASE[:7] in other
        assert await stage.page("/approvals/a-1?base=nonsense")

    play(tmp_path, story)


def test_a_page_whose_diff_was_swept_says_so(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        stage.writer.add(approval(state=ApprovalState.DENIED, commit=SHA), (), AgentFiles(None, AFTER["agent.toml"]))
        page = " ".join((await stage.page("/approvals/a-1")).split())
        assert "Its diff is kept no more; the commit is in the repository of ada" in page
        assert SHA in page

    play(tmp_path, story)


def test_a_stale_page_is_refused_with_the_reason_and_keeps_the_note(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER)
        stage.refusal = ("refused", "a-1 is void: what ran when it was asked for runs no more")
        answer = await stage.decide("a-1", "approve", note="my words")
        assert answer.status_code == 409
        assert "what ran when it was asked for runs no more" in answer.text
        assert ">my words</textarea>" in answer.text

    play(tmp_path, story)


def test_what_was_decided_already_is_no_error_and_another_decision_is(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER)
        answers = await asyncio.gather(*(stage.decide("a-1", "approve") for _ in range(3)))
        assert [answer.status_code for answer in answers] == [303, 303, 303]
        refused = await stage.decide("a-1", "deny")
        assert refused.status_code == 409
        assert "a-1 is approved already; nothing was changed" in refused.text
        other = await stage.decide("a-1", "approve", commit=OTHER)
        assert other.status_code == 409
        found = stage.writer.get("a-1")
        assert found
        assert found.state is ApprovalState.APPROVED

    play(tmp_path, story)


def test_a_purge_wants_the_name_once_more(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, {}, {}, kind=ApprovalKind.PURGE, commit="", base="")
        page = await stage.page("/approvals/a-1")
        assert "wiped, for ever" in page
        assert 'class="diff"' not in page
        refused = await stage.decide("a-1", "approve", commit="")
        assert refused.status_code == 422
        assert "type ada" in refused.text
        assert stage.wishes == []
        assert (await stage.decide("a-1", "approve", commit="", sure="ada")).status_code == 303
        assert [wish.commit for wish in stage.wishes] == [""]

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"kind": ApprovalKind.SPAWN, "agent": "lin"}, "Make"),
        ({"kind": ApprovalKind.SPAWN_COMMIT, "agent": "lin", "revives": True}, "What was kept of a destroyed lin"),
        ({"kind": ApprovalKind.PERMISSION_PATTERN, "pattern": "make *"}, "<code>make *</code>"),
    ],
)
def test_each_kind_has_its_page(tmp_path: Path, facts: dict[str, Any], words: str) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, {}, AFTER, **facts)
        page = await stage.page("/approvals/a-1")
        assert words in page
        assert 'value="approve"' in page
        assert words in await stage.page("/approvals/a-1") + await stage.page("/approvals")

    play(tmp_path, story)


def test_the_history_is_filtered_and_paged(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        now = datetime.now(UTC)
        for number in range(120):
            agent = "ada" if number % 2 else "lin"
            found = approval(f"a-{number}", agent=agent, requested_at=now - timedelta(minutes=number))
            stage.writer.add(found, "")
            stage.writer.move(found, ApprovalState.DENIED if number % 3 else ApprovalState.DEPLOYED, at=now)
        propose(stage.writer, BEFORE, AFTER, identity="a-waits", requested_at=now - timedelta(days=1))
        first = await stage.page("/approvals")
        assert first.index('id="a-waits"') < first.index('id="a-0"')
        seen: list[str] = []
        path = "/approvals?agent=lin&state=denied"
        while path:
            page = await stage.page(path)
            seen += re.findall(r'<li class="message" id="(a-\d+)"', page)
            older = re.search(r'href="(/approvals\?[^"]*before=[^"]*)"', page)
            path = older[1].replace("&amp;", "&") if older else ""
        assert seen == [f"a-{number}" for number in range(120) if number % 2 == 0 and number % 3]
        assert "None like that" in await stage.page("/approvals?agent=nobody&before=a-0&kind=nonsense")

    play(tmp_path, story)


def test_an_open_page_is_told_what_became_of_it(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER)
        snapshots, hub = stage.hive.dashboard.parts.snapshots, stage.hive.dashboard.parts.hub
        await until(lambda: snapshots.current.pending)
        follower = hub.follow("home", hub.cursor("home"))
        await anext(follower)
        await stage.decide("a-1", "request_changes", note="<i>smaller</i>")
        told = ""
        while "event: approval-a-1\n" not in told:
            told += (await anext(follower)).decode()
        assert "changes requested" in told
        assert "&lt;i&gt;smaller" in told

    play(tmp_path, story)


def test_one_that_waits_is_never_forgotten_for_newer_ones(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        now = datetime.now(UTC)
        propose(stage.writer, BEFORE, AFTER, identity="a-waits", requested_at=now - timedelta(days=1))
        for number in range(101):
            stage.writer.add(approval(f"a-{number}", state=ApprovalState.DENIED, requested_at=now), "")
        now_shown = await stage.hive.dashboard.parts.snapshots.refresh()
        assert [one.id for one in now_shown.pending] == ["a-waits"]

    play(tmp_path, story)


def test_the_outlook_marks_what_is_wider_and_survives_a_file_of_another_version() -> None:
    files = AgentFiles(BEFORE["agent.toml"], AFTER["agent.toml"])
    outlook = outlook_of(approval(), files, None)
    assert outlook.wider == 1
    assert "There is no ada any more: it cannot be deployed." in outlook.effects
    new = outlook_of(approval(kind=ApprovalKind.SPAWN_COMMIT), AgentFiles(None, AFTER["agent.toml"]), None)
    assert {right.risk for right in new.usual} == {Risk.SAME}
    spawn = approval(kind=ApprovalKind.SPAWN_COMMIT)
    assert "begins with the 2 files under seed/" in " ".join(outlook_of(spawn, None, None, seeds=2).effects)
    revived = spawn.model_copy(update={"revives": True})
    assert "seed/ are not used" in " ".join(outlook_of(revived, None, None, seeds=2).effects)
    assert "no such key" in outlook_of(approval(), AgentFiles(None, "later = 1"), None).problem
    assert outlook_of(approval(kind=ApprovalKind.PURGE), None, None).rights == ()


def test_bases_that_are_the_same_commit_are_one_choice() -> None:
    diffs = (StoredDiff(BaseKind.RUNNING, BASE, ""), StoredDiff(BaseKind.LAST_APPROVED, BASE, ""))
    (base,) = bases_of(diffs)
    assert (base.kind, base.words) == (BaseKind.RUNNING, "what runs, last approved")
    assert bases_of(diffs, past=True)[0].words == "what ran then, last approved"
    assert bases_of(()) == ()


def test_what_waits_is_marked_where_it_widens_and_a_purge_is_not_approved_in_passing(tmp_path: Path) -> None:
    async def story(stage: Played) -> None:
        propose(stage.writer, BEFORE, AFTER)
        propose(stage.writer, AFTER, BEFORE, identity="a-less")
        propose(stage.writer, {}, {}, identity="a-purge", kind=ApprovalKind.PURGE, commit="", base="")
        now = await stage.hive.dashboard.parts.snapshots.refresh()
        assert now.wider == {"a-1": 1, "a-less": 0, "a-purge": 0}
        for path in ("/", "/approvals"):
            assert (await stage.page(path)).count("1 wider right<") == 1
        page = await stage.page("/")
        assert (page.count('value="approve"'), page.count('name="sure"')) == (3, 1)
        refused = await stage.decide("a-purge", "approve", commit="", back="/")
        assert (refused.status_code, stage.wishes) == (422, [])
        found = (await stage.hive.api.get("/api/v1/approvals", params={"kind": "purge"})).json()["approvals"]
        assert [one["id"] for one in found] == ["a-purge"]

    play(tmp_path, story)

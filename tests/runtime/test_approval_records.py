"""The store of approvals: what a page compares, drafts, and what an earlier version wrote."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind
from hive_contracts.drafts import DraftView
from hive_runtime.records.approvals import MIGRATIONS, AgentFiles, ApprovalReader, ApprovalWriter, StoredDiff

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[ApprovalWriter]:
    with closing(ApprovalWriter(tmp_path / "approvals.sqlite")) as writer:
        yield writer


@pytest.fixture
def reader(tmp_path: Path) -> ApprovalReader:
    return ApprovalReader(tmp_path / "approvals.sqlite")


def approval(
    identity: str = "a-1", *, kind: ApprovalKind = ApprovalKind.APPLY_COMMIT, commit: str = "c"
) -> ApprovalView:
    return ApprovalView(
        id=identity,
        kind=kind,
        agent="ada",
        requester="hm1nd",
        state=ApprovalState.PENDING,
        commit=commit,
        base="b",
        requested_at=AT,
        expires_at=AT + timedelta(days=1),
    )


def draft(name: str = "lin", *, author: str = "hm1nd") -> DraftView:
    return DraftView(name=name, author=author, created_at=AT, commit="c", subject="first", committed_at=AT)


def test_what_a_page_compares_is_stored_with_the_request(writer: ApprovalWriter, reader: ApprovalReader) -> None:
    diffs = (StoredDiff(BaseKind.PREVIOUS_PROPOSAL, "p", "small"), StoredDiff(BaseKind.RUNNING, "b", "large"))
    files = AgentFiles(before=None, after='model = "opus"')
    assert writer.add(approval(), diffs, files)
    assert not writer.add(approval(), "another"), "the first counts"
    assert reader.diffs("a-1") == (diffs[1], diffs[0])
    assert reader.diff("a-1") == "large"
    assert reader.agent_files("a-1") == files
    assert reader.get("a-1") == approval()


def test_a_purge_has_nothing_to_compare(writer: ApprovalWriter, reader: ApprovalReader) -> None:
    writer.add(approval(kind=ApprovalKind.PURGE, commit=""), ())
    assert (reader.diffs("a-1"), reader.diff("a-1"), reader.agent_files("a-1")) == ((), "", None)
    assert [one.id for one in writer.waiting_of("ada")] == ["a-1"]
    assert writer.waiting_of("lin") == []


def test_a_draft_is_there_until_it_is_dropped(writer: ApprovalWriter, reader: ApprovalReader) -> None:
    writer.keep_draft(draft())
    writer.keep_draft(draft(author="operator"))
    assert reader.drafts() == writer.drafts() == [draft(author="operator")]
    assert writer.draft("ada") is None
    assert writer.drop_draft("lin")
    assert not writer.drop_draft("lin")
    assert reader.drafts() == []


def test_what_an_earlier_version_wrote_is_there(tmp_path: Path, reader: ApprovalReader) -> None:
    with closing(sqlite3.connect(tmp_path / "approvals.sqlite")) as db, db:
        db.executescript(MIGRATIONS[0])
        db.execute(
            "INSERT INTO approvals (id, kind, agent, requester, state, commit_id, base, description, diff,"
            " requested_at, expires_at)"
            " VALUES ('a-0', 'apply_commit', 'ada', 'hm1nd', 'deployed', 'c', 'b', '', 'old', 1, 2)"
        )
        db.execute("PRAGMA user_version = 1")
    with closing(ApprovalWriter(tmp_path / "approvals.sqlite")) as writer:
        writer.add(approval(), "new")
    assert {one.id: reader.diff(one.id) for one in reader.recent()} == {"a-0": "old", "a-1": "new"}
    assert reader.agent_files("a-0") is None

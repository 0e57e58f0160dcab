"""`approvals.sqlite`: every request and what became of it, and the drafts. The supervisor is its only writer, the
dashboard reads: what a page shows of a commit is stored with the request, so that nobody else opens a repository."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView, BaseKind
from hive_contracts.drafts import DraftView
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store, read_only

MIGRATIONS: Final = tuple(
    files(__package__).joinpath(name).read_text()
    for name in ("approvals.sql", "approvals_2.sql", "approvals_3.sql", "approvals_4.sql", "approvals_5.sql")
)

MOST_REPEATED: Final = 10_000
"""Requests that asked for the same again, and whose answer is kept: who asks may ask for ever."""


@dataclass(frozen=True, slots=True)
class StoredDiff:
    """Unified, from `base` to the commit, as it was when it was asked for. An empty `base`: from nothing."""

    base_kind: BaseKind
    base: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentFiles:
    """`agent.toml` as it would be, and as it was; None where there was none."""

    before: str | None
    after: str


_NEWEST_FIRST: Final = "SELECT * FROM approvals ORDER BY requested_at DESC, id DESC"
_DRAFTS: Final = "SELECT * FROM drafts ORDER BY created_at, name"


class ApprovalWriter:
    """Every change of state is conditional: the second of two that race changes nothing. Raises `StoreUnavailable`."""

    def __init__(self, path: Path) -> None:
        self.base = Store(path, MIGRATIONS)

    def add(
        self,
        approval: ApprovalView,
        diff: str | Sequence[StoredDiff],
        agent_files: AgentFiles | None = None,
    ) -> bool:
        """False when one with its id is there already. A `diff` that is one text is against what runs."""
        diffs = (StoredDiff(BaseKind.RUNNING, approval.base, diff),) if isinstance(diff, str) else tuple(diff)
        with self.base.transaction() as db:
            if not _insert(db, approval, diffs):
                return False
            if agent_files:
                values = {"id": approval.id, "before": agent_files.before, "after": agent_files.after}
                db.execute("INSERT INTO agent_files (id, before, after) VALUES (:id, :before, :after)", values)
            return True

    def get(self, approval_id: str) -> ApprovalView | None:
        with self.base.reading() as db:
            return _get(db, approval_id)

    def repeat(self, request_id: str, approval: ApprovalView) -> None:
        """Keep that this request asked for what `approval` was waiting for."""
        values = {"id": request_id, "approval": approval.id, "most": MOST_REPEATED}
        with self.base.transaction() as db:
            db.execute("INSERT OR IGNORE INTO repeated (id, approval) VALUES (:id, :approval)", values)
            db.execute("DELETE FROM repeated WHERE number <= (SELECT max(number) FROM repeated) - :most", values)

    def repeated(self, request_id: str) -> ApprovalView | None:
        """The approval that was waiting when this request asked for the same."""
        query = "SELECT a.* FROM repeated r JOIN approvals a ON a.id = r.approval WHERE r.id = :id"
        with self.base.reading() as db:
            row = db.execute(query, {"id": request_id}).fetchone()
        return _view(row) if row else None

    def in_state(self, state: ApprovalState) -> list[ApprovalView]:
        """Oldest first."""
        with self.base.reading() as db:
            return _in_state(db, state)

    def of_agent(self, agent: str) -> list[ApprovalView]:
        """All about `agent`, newest first."""
        query = "SELECT * FROM approvals WHERE agent = :agent ORDER BY requested_at DESC, id DESC"
        with self.base.reading() as db:
            return [_view(row) for row in db.execute(query, {"agent": agent})]

    def decided_by(self, approval_id: str) -> str:
        """The id of the command that decided it; empty while none has."""
        with self.base.reading() as db:
            row = db.execute("SELECT decided_by FROM approvals WHERE id = :id", {"id": approval_id}).fetchone()
        return row["decided_by"] if row else ""

    def untold(self) -> list[ApprovalView]:
        """Those whose state nobody was told yet, oldest first."""
        query = "SELECT * FROM approvals WHERE told <> state ORDER BY requested_at, id"
        with self.base.reading() as db:
            return [_view(row) for row in db.execute(query)]

    def told(self, approval: ApprovalView) -> None:
        """Everybody was told of the state in which `approval` was read."""
        values = {"id": approval.id, "state": approval.state.value}
        with self.base.transaction() as db:
            db.execute("UPDATE approvals SET told = :state WHERE id = :id", values)

    def move(
        self,
        approval: ApprovalView,
        state: ApprovalState,
        *,
        at: datetime,
        note: str = "",
        error: str = "",
        decided_by: str = "",
    ) -> ApprovalView | None:
        """From the state in which `approval` was read; None when it is in another by now."""
        values = {
            "id": approval.id,
            "before": approval.state.value,
            "state": state.value,
            "at": milliseconds(at),
            "note": note or approval.note,
            "error": error,
            "decided_by": decided_by,
        }
        query = (
            "UPDATE approvals SET state = :state, resolved_at = :at, note = :note, error = :error,"
            " decided_by = CASE :decided_by WHEN '' THEN decided_by ELSE :decided_by END"
            " WHERE id = :id AND state = :before"
        )
        with self.base.transaction() as db:
            if db.execute(query, values).rowcount != 1:
                return None
        return self.get(approval.id)

    def waiting_of(self, agent: str) -> list[ApprovalView]:
        """Those about `agent` that wait for the operator, oldest first."""
        return [one for one in self.in_state(ApprovalState.PENDING) if one.agent == agent]

    def keep_draft(self, draft: DraftView) -> None:
        """Also in the place of what is known of it."""
        values = {
            "name": draft.name,
            "author": draft.author,
            "created_at": milliseconds(draft.created_at),
            "commit_id": draft.commit,
            "subject": draft.subject,
            "committed_at": milliseconds(draft.committed_at),
            "revives": draft.revives,
        }
        names, slots = ", ".join(values), ", ".join(f":{name}" for name in values)
        with self.base.transaction() as db:
            db.execute(f"INSERT OR REPLACE INTO drafts ({names}) VALUES ({slots})", values)  # noqa: S608 - constants

    def draft(self, name: str) -> DraftView | None:
        with self.base.reading() as db:
            row = db.execute("SELECT * FROM drafts WHERE name = :name", {"name": name}).fetchone()
        return _draft(row) if row else None

    def drafts(self) -> list[DraftView]:
        """Oldest first."""
        with self.base.reading() as db:
            return [_draft(row) for row in db.execute(_DRAFTS)]

    def drop_draft(self, name: str) -> bool:
        """False when there is none."""
        with self.base.transaction() as db:
            return db.execute("DELETE FROM drafts WHERE name = :name", {"name": name}).rowcount == 1

    def close(self) -> None:
        self.base.close()


class ApprovalReader:
    """Anyone's side: each call opens read-only, and finds nothing while the store is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, approval_id: str) -> ApprovalView | None:
        with read_only(self._path) as db:
            return _get(db, approval_id) if db else None

    def diff(self, approval_id: str) -> str:
        """Against what ran when it was asked for; empty for what has no commit."""
        return next((diff.text for diff in self.diffs(approval_id) if diff.base_kind is BaseKind.RUNNING), "")

    def diffs(self, approval_id: str) -> tuple[StoredDiff, ...]:
        """Against what runs first, then as `BaseKind` has them."""
        query = "SELECT base_kind, base, text FROM approval_diffs WHERE id = :id"
        with read_only(self._path) as db:
            rows = db.execute(query, {"id": approval_id}).fetchall() if db else ()
            found = [StoredDiff(BaseKind(row["base_kind"]), row["base"], row["text"]) for row in rows]
        return tuple(sorted(found, key=lambda diff: list(BaseKind).index(diff.base_kind)))

    def agent_files(self, approval_id: str) -> AgentFiles | None:
        """None for what has no commit, and for what was asked for before they were stored."""
        query = "SELECT before, after FROM agent_files WHERE id = :id"
        with read_only(self._path) as db:
            row = db.execute(query, {"id": approval_id}).fetchone() if db else None
        return AgentFiles(row["before"], row["after"]) if row else None

    def in_state(self, state: ApprovalState) -> list[ApprovalView]:
        """Oldest first."""
        with read_only(self._path) as db:
            return _in_state(db, state) if db else []

    def everything(self) -> list[ApprovalView]:
        """All there ever were, newest first."""
        with read_only(self._path) as db:
            return [_view(row) for row in db.execute(_NEWEST_FIRST)] if db else []

    def draft(self, name: str) -> DraftView | None:
        return next((draft for draft in self.drafts() if draft.name == name), None)

    def drafts(self) -> list[DraftView]:
        """Oldest first."""
        with read_only(self._path) as db:
            return [_draft(row) for row in db.execute(_DRAFTS)] if db else []

    def pending(self) -> list[ApprovalView]:
        """Those that wait for the operator, oldest first."""
        query = "SELECT * FROM approvals WHERE state = 'pending' ORDER BY requested_at, id"
        with read_only(self._path) as db:
            return [_view(row) for row in db.execute(query)] if db else []

    def recent(self, *, limit: int = 50) -> list[ApprovalView]:
        """All, newest first."""
        with read_only(self._path) as db:
            return [_view(row) for row in db.execute(f"{_NEWEST_FIRST} LIMIT :limit", {"limit": limit})] if db else []

    def search(
        self,
        *,
        agent: str = "",
        kind: ApprovalKind | None = None,
        state: ApprovalState | None = None,
        before: str = "",
        limit: int = 50,
    ) -> list[ApprovalView]:
        """Newest first, `before` an approval's id; without an argument, whatever its value."""
        values = {"agent": agent, "kind": kind, "state": state, "before": before}
        given = {name: value for name, value in values.items() if value}
        conditions = " AND ".join(_CONDITIONS[name] for name in given) or "TRUE"
        query = f"SELECT * FROM approvals WHERE {conditions} {_NEWEST}"  # noqa: S608 - constants only
        with read_only(self._path) as db:
            return [_view(row) for row in db.execute(query, given | {"limit": limit})] if db else []


_NEWEST: Final = "ORDER BY requested_at DESC, id DESC LIMIT :limit"
_CONDITIONS: Final = {
    "agent": "agent = :agent",
    "kind": "kind = :kind",
    "state": "state = :state",
    "before": "(requested_at, id) < (SELECT requested_at, id FROM approvals WHERE id = :before)",
}


def _insert(db: sqlite3.Connection, approval: ApprovalView, diffs: Sequence[StoredDiff]) -> bool:
    values = {
        "id": approval.id,
        "kind": approval.kind.value,
        "agent": approval.agent,
        "requester": approval.requester,
        "state": approval.state.value,
        "commit_id": approval.commit,
        "base": approval.base,
        "description": approval.description,
        "pattern": approval.pattern,
        "revives": approval.revives,
        "requested_at": milliseconds(approval.requested_at),
        "expires_at": milliseconds(approval.expires_at),
        "resolved_at": milliseconds(approval.resolved_at) if approval.resolved_at else None,
    }
    names, slots = ", ".join(values), ", ".join(f":{name}" for name in values)
    query = f"INSERT INTO approvals ({names}) VALUES ({slots}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants only
    inserted = db.execute(query, values).rowcount == 1
    if inserted:
        rows = [(approval.id, diff.base_kind.value, diff.base, diff.text) for diff in diffs]
        db.executemany("INSERT INTO approval_diffs (id, base_kind, base, text) VALUES (?, ?, ?, ?)", rows)
    return inserted


def _in_state(db: sqlite3.Connection, state: ApprovalState) -> list[ApprovalView]:
    query = "SELECT * FROM approvals WHERE state = :state ORDER BY requested_at, id"
    return [_view(row) for row in db.execute(query, {"state": state.value})]


def _get(db: sqlite3.Connection, approval_id: str) -> ApprovalView | None:
    row = db.execute("SELECT * FROM approvals WHERE id = :id", {"id": approval_id}).fetchone()
    return _view(row) if row else None


def _view(row: sqlite3.Row) -> ApprovalView:
    return ApprovalView(
        id=row["id"],
        kind=ApprovalKind(row["kind"]),
        agent=row["agent"],
        requester=row["requester"],
        state=ApprovalState(row["state"]),
        commit=row["commit_id"],
        base=row["base"],
        description=row["description"],
        pattern=row["pattern"],
        revives=bool(row["revives"]),
        requested_at=from_milliseconds(row["requested_at"]),
        expires_at=from_milliseconds(row["expires_at"]),
        resolved_at=None if row["resolved_at"] is None else from_milliseconds(row["resolved_at"]),
        note=row["note"],
        error=row["error"],
    )


def _draft(row: sqlite3.Row) -> DraftView:
    return DraftView(
        name=row["name"],
        author=row["author"],
        created_at=from_milliseconds(row["created_at"]),
        commit=row["commit_id"],
        subject=row["subject"],
        committed_at=from_milliseconds(row["committed_at"]),
        revives=bool(row["revives"]),
    )

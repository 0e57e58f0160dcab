"""`approvals.sqlite`: every request and what became of it. The supervisor is its only writer, the dashboard reads."""

import sqlite3
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from hive_contracts.approvals import ApprovalKind, ApprovalState, ApprovalView
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store, read_only

MIGRATIONS: Final = (files(__package__).joinpath("approvals.sql").read_text(),)


class ApprovalWriter:
    """Every change of state is conditional: the second of two that race changes nothing. Raises `StoreUnavailable`."""

    def __init__(self, path: Path) -> None:
        self.base = Store(path, MIGRATIONS)

    def add(self, approval: ApprovalView, diff: str) -> bool:
        """False when one with its id is there already."""
        values = {
            "id": approval.id,
            "kind": approval.kind.value,
            "agent": approval.agent,
            "requester": approval.requester,
            "state": approval.state.value,
            "commit_id": approval.commit,
            "base": approval.base,
            "description": approval.description,
            "diff": diff,
            "requested_at": milliseconds(approval.requested_at),
            "expires_at": milliseconds(approval.expires_at),
        }
        names, slots = ", ".join(values), ", ".join(f":{name}" for name in values)
        query = f"INSERT INTO approvals ({names}) VALUES ({slots}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants only
        with self.base.transaction() as db:
            return db.execute(query, values).rowcount == 1

    def get(self, approval_id: str) -> ApprovalView | None:
        with self.base.reading() as db:
            return _get(db, approval_id)

    def in_state(self, state: ApprovalState) -> list[ApprovalView]:
        """Oldest first."""
        query = "SELECT * FROM approvals WHERE state = :state ORDER BY requested_at, id"
        with self.base.reading() as db:
            return [_view(row) for row in db.execute(query, {"state": state.value})]

    def move(
        self, approval: ApprovalView, state: ApprovalState, *, at: datetime, note: str = "", error: str = ""
    ) -> ApprovalView | None:
        """From the state in which `approval` was read; None when it is in another by now."""
        values = {
            "id": approval.id,
            "before": approval.state.value,
            "state": state.value,
            "at": milliseconds(at),
            "note": note or approval.note,
            "error": error,
        }
        query = (
            "UPDATE approvals SET state = :state, resolved_at = :at, note = :note, error = :error"
            " WHERE id = :id AND state = :before"
        )
        with self.base.transaction() as db:
            if db.execute(query, values).rowcount != 1:
                return None
        return self.get(approval.id)

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
        with read_only(self._path) as db:
            row = (
                db.execute("SELECT diff FROM approvals WHERE id = :id", {"id": approval_id}).fetchone() if db else None
            )
        return row["diff"] if row else ""

    def pending(self) -> list[ApprovalView]:
        """Those that wait for the operator, oldest first."""
        query = "SELECT * FROM approvals WHERE state = 'pending' ORDER BY requested_at, id"
        with read_only(self._path) as db:
            return [_view(row) for row in db.execute(query)] if db else []

    def recent(self, *, limit: int = 50) -> list[ApprovalView]:
        """All, newest first."""
        query = "SELECT * FROM approvals ORDER BY requested_at DESC, id DESC LIMIT :limit"
        with read_only(self._path) as db:
            return [_view(row) for row in db.execute(query, {"limit": limit})] if db else []


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
        requested_at=from_milliseconds(row["requested_at"]),
        expires_at=from_milliseconds(row["expires_at"]),
        resolved_at=None if row["resolved_at"] is None else from_milliseconds(row["resolved_at"]),
        note=row["note"],
        error=row["error"],
    )

"""The audit log in `dashboard.sqlite`: a row for each action of the operator.

Rows are added and finished, never changed.
"""

import sqlite3
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store

MAX_ROWS: Final = 100_000
TRIM_EVERY: Final = 500
ASKED: Final = "asked"
"""The outcome of what is under way, or was when the dashboard ended."""


class Action(BaseModel):
    """`who`: a token (`t-…`), a session (`s-…`), or `local`, the token file of this machine.

    `outcome`: `done`, `asked` while it is under way, or the code of the error, with its sentence as `reason`.
    """

    id: str
    time: datetime
    who: str
    address: str
    action: str
    target: str
    detail: str
    outcome: str
    reason: str


class AuditLog:
    """Any thread may use it."""

    def __init__(self, base: Store) -> None:
        self._base = base

    def add(self, action: Action) -> int:
        """Its row; `action.id` is left aside. The oldest go when there are more than `MAX_ROWS`."""
        values = action.model_dump(exclude={"id", "time"}) | {"at": milliseconds(action.time)}
        names, slots = ", ".join(values), ", ".join(f":{name}" for name in values)
        with self._base.transaction() as db:
            row = db.execute(f"INSERT INTO audit ({names}) VALUES ({slots})", values).lastrowid or 0  # noqa: S608 - constants only
            if row % TRIM_EVERY == 0:
                db.execute("DELETE FROM audit WHERE id <= :floor", {"floor": row - MAX_ROWS})
        return row

    def finish(self, row: int, outcome: str, reason: str = "") -> None:
        values = {"id": row, "outcome": outcome, "reason": reason, "asked": ASKED}
        query = "UPDATE audit SET outcome = :outcome, reason = :reason WHERE id = :id AND outcome = :asked"
        with self._base.transaction() as db:
            db.execute(query, values)

    def recent(
        self, *, before: int | None = None, who: str | None = None, target: str | None = None, limit: int = 100
    ) -> list[Action]:
        """Newest first."""
        query = (
            "SELECT * FROM audit WHERE (:before IS NULL OR id < :before) AND (:who IS NULL OR who = :who)"
            " AND (:target IS NULL OR target = :target) ORDER BY id DESC LIMIT :limit"
        )
        values = {"before": before, "who": who, "target": target, "limit": limit}
        with self._base.reading() as db:
            return [_action(row) for row in db.execute(query, values)]


def _action(row: sqlite3.Row) -> Action:
    return Action(
        id=str(row["id"]),
        time=from_milliseconds(row["at"]),
        who=row["who"],
        address=row["address"],
        action=row["action"],
        target=row["target"],
        detail=row["detail"],
        outcome=row["outcome"],
        reason=row["reason"],
    )

"""The audit log in `dashboard.sqlite`: a row for each action of the operator.

Rows are added and finished, never changed.
"""

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, computed_field

from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store

MAX_ROWS: Final = 100_000
TRIM_EVERY: Final = 500
ASKED: Final = "asked"
"""The outcome of what is under way, or was when the dashboard ended."""


class Fact(BaseModel):
    """A line of a detail. `label` is empty where the detail is one sentence."""

    label: str
    value: str


class Action(BaseModel):
    """`who`: a token (`t-…`), a session (`s-…`), or `local`, the token file of this machine.

    `detail` is a sentence, or the fields of the command as JSON; `facts` is the same to be read.
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

    @computed_field  # type: ignore[prop-decorator]
    @property
    def facts(self) -> list[Fact]:
        return facts_of(self.detail)


def facts_of(detail: str) -> list[Fact]:
    """A text that is no JSON object is one fact without a label."""
    try:
        fields = json.loads(detail)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        return [Fact(label="", value=detail)] if detail else []
    return [Fact(label=label.replace("_", " "), value=_words(value)) for label, value in flat(fields)]


def flat(fields: dict[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """What is in an object of an object is `outer.inner`."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from flat(value, f"{within}{name}.")
        else:
            yield f"{within}{name}", value


def _words(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(_words(one) for one in value)
        case dict():
            return ", ".join(f"{name}: {_words(one)}" for name, one in value.items())
        case None:
            return "none"
        case _:
            return str(value)


class AuditLog:
    """Any thread may use it."""

    def __init__(self, base: Store) -> None:
        self._base = base

    def add(self, action: Action) -> int:
        """Its row; `action.id` is left aside. The oldest go when there are more than `MAX_ROWS`."""
        values = action.model_dump(exclude={"id", "time", "facts"}) | {"at": milliseconds(action.time)}
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

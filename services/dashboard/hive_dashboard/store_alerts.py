"""What happened that the operator is to see, in `dashboard.sqlite`, until it is dismissed; at most so many a kind."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from hive_contracts import streams
from hive_contracts.errors import NotFound
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store

MOST: Final = 20
"""Alerts of a kind that are kept; the ones that happened last."""

FORGOTTEN_MS: Final = 600_000
"""Refusals this far apart are not counted together."""


class AlertKind(StrEnum):
    FLOOD = "flood"
    LOOP = "loop"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Alert:
    """`agent` did it, `count` times from `since` to `last`; to `peer`, where it was about somebody.

    `over`: it has ended by itself. `trace_id`: the conversation that was stopped.
    """

    kind: AlertKind
    agent: str
    reason: str
    since: datetime
    last: datetime
    peer: str = ""
    trace_id: str = ""
    count: int = 1
    over: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind}-{self.trace_id or self.agent}"


@dataclass(frozen=True, slots=True)
class Ended:
    """The alert of this key is over; `settled`: the operator has seen to it, too."""

    key: str
    settled: bool = False


Happened = Alert | Ended


class AlertStore:
    """Any thread may use it."""

    def __init__(self, base: Store) -> None:
        self._base = base

    def position(self) -> str:
        """The entry of `hive:events` up to which it was taken in; empty at first."""
        with self._base.reading() as db:
            row = db.execute(
                "SELECT entry FROM read_up_to WHERE stream = :stream", {"stream": streams.EVENTS}
            ).fetchone()
        return str(row["entry"]) if row else ""

    def take(self, happened: Iterable[Happened], *, up_to: str) -> None:
        """All of it once: what was taken in and how far was read are written together."""
        with self._base.transaction() as db:
            for one in happened:
                if isinstance(one, Alert):
                    _add(db, one)
                else:
                    _end(db, one)
            db.execute(_TRIM, {"most": MOST})
            db.execute(_READ, {"stream": streams.EVENTS, "entry": up_to})

    def all(self) -> list[Alert]:
        """What happened first comes first."""
        with self._base.reading() as db:
            return [_alert(row) for row in db.execute("SELECT * FROM alerts ORDER BY since, key")]

    def dismiss(self, key: str) -> Alert:
        """The operator has seen it. Raises `NotFound`, also for what was dismissed before."""
        with self._base.transaction() as db:
            row = db.execute("SELECT * FROM alerts WHERE key = :key", {"key": key}).fetchone()
            if row is None:
                raise NotFound("that was dismissed already; what happens from now on is shown again")
            db.execute("DELETE FROM alerts WHERE key = :key", {"key": key})
        return _alert(row)


_READ: Final = "INSERT OR REPLACE INTO read_up_to VALUES (:stream, :entry)"
_TRIM: Final = """
DELETE FROM alerts WHERE key IN (
  SELECT key FROM (SELECT key, row_number() OVER (PARTITION BY kind ORDER BY last DESC, key DESC) AS place FROM alerts)
  WHERE place > :most)
"""


def _add(db: sqlite3.Connection, alert: Alert) -> None:
    """Beside one of its key it counts, unless that is refusals of long ago."""
    last = milliseconds(alert.last)
    values = {
        "key": alert.key,
        "kind": alert.kind.value,
        "agent": alert.agent,
        "peer": alert.peer,
        "trace_id": alert.trace_id,
        "reason": alert.reason,
        "count": alert.count,
        "since": milliseconds(alert.since),
        "last": last,
    }
    old = {"key": alert.key, "kind": AlertKind.REFUSED.value, "before": last - FORGOTTEN_MS}
    db.execute("DELETE FROM alerts WHERE key = :key AND kind = :kind AND last < :before", old)
    db.execute(
        "INSERT INTO alerts VALUES (:key, :kind, :agent, :peer, :trace_id, :reason, :count, :since, :last, 0)"
        " ON CONFLICT (key) DO UPDATE SET count = count + excluded.count, last = excluded.last,"
        " reason = excluded.reason, peer = excluded.peer, agent = excluded.agent, over = 0",
        values,
    )


def _end(db: sqlite3.Connection, ended: Ended) -> None:
    query = "DELETE FROM alerts WHERE key = :key" if ended.settled else "UPDATE alerts SET over = 1 WHERE key = :key"
    db.execute(query, {"key": ended.key})


def _alert(row: sqlite3.Row) -> Alert:
    return Alert(
        kind=AlertKind(row["kind"]),
        agent=row["agent"],
        reason=row["reason"],
        since=from_milliseconds(row["since"]),
        last=from_milliseconds(row["last"]),
        peer=row["peer"],
        trace_id=row["trace_id"],
        count=row["count"],
        over=bool(row["over"]),
    )

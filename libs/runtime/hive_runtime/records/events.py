"""`agents/<name>/events.sqlite`: an agent's live events. Written by the broker, read by the dashboard."""

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.turns import TurnEnded, TurnPartial
from hive_runtime.records.messages import from_milliseconds
from hive_runtime.records.stats import record_stats
from hive_runtime.store import Store, read_only

MIGRATIONS: Final = tuple(
    files("hive_runtime.records").joinpath(name).read_text()
    for name in ("events.sql", "events_2.sql", "events_3.sql", "events_4.sql")
)

MAX_DATA_BYTES: Final = 256 * 1024
"""An event's data over this is not kept; a harness cuts its texts far below."""


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """`id` is the stream entry's; `data` comes from a container and is untrusted."""

    id: str
    time: datetime
    type: str
    turn_id: str
    seq: int
    data: dict[str, Any]


def entry_time(entry_id: str) -> int:
    """When Redis took the entry, in milliseconds since 1970, but not later than now: who appends may choose the id."""
    return min(int(entry_id.partition("-")[0]), time.time_ns() // 1_000_000)


class EventWriter:
    """The broker's side of one agent's store, in a folder of the agent's name. All raise `StoreUnavailable`."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, MIGRATIONS, patient=True)
        self._agent = path.parent.name

    @property
    def store(self) -> Store:
        return self._store

    def position(self) -> str:
        """The newest entry of the live stream that was recorded; `0-0` while there is none."""
        with self._store.reading() as db:
            row = db.execute("SELECT entry_id FROM position").fetchone()
        return str(row["entry_id"]) if row else "0-0"

    def record(self, events: Sequence[tuple[str, Envelope]], *, position: str) -> None:
        """Record (entry id, envelope) pairs, but nothing partial; what is there is left alone.

        Up to `position` all is recorded then.
        """
        rows = [_row(entry_id, envelope) for entry_id, envelope in events if envelope.type != TurnPartial.TYPE]
        with self._store.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO events (entry_id, envelope_id, at, type, turn_id, seq, data)"
                " VALUES (:entry_id, :envelope_id, :at, :type, :turn_id, :seq, :data)",
                rows,
            )
            for ended, at in _endings(events):
                record_stats(db, self._agent, ended, ts=at)
            db.execute("INSERT OR REPLACE INTO position VALUES (1, :entry_id)", {"entry_id": position})

    def close(self) -> None:
        self._store.close()


class EventReader:
    """Anyone's side: each call opens read-only, and finds nothing while the store does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def page(self, *, before: str | None = None, after: str | None = None, limit: int = 200) -> list[RecordedEvent]:
        """Oldest first: those before or after an event's id, else the newest. An unknown id gives an empty page."""
        cursor = "(SELECT number FROM events WHERE entry_id = :cursor)"
        if after is not None:
            query = f"SELECT * FROM events WHERE number > {cursor} ORDER BY number LIMIT :limit"  # noqa: S608
        elif before is not None:
            query = f"SELECT * FROM events WHERE number < {cursor} ORDER BY number DESC LIMIT :limit"  # noqa: S608
        else:
            query = "SELECT * FROM events ORDER BY number DESC LIMIT :limit"
        with read_only(self._path) as db:
            rows = db.execute(query, {"cursor": after or before, "limit": limit}).fetchall() if db else []
            return [event_of(row) for row in (rows if after is not None else reversed(rows))]

    def get(self, event_id: str) -> RecordedEvent | None:
        with read_only(self._path) as db:
            query = "SELECT * FROM events WHERE entry_id = :id"
            row = db.execute(query, {"id": event_id}).fetchone() if db else None
            return event_of(row) if row else None


def _endings(events: Sequence[tuple[str, Envelope]]) -> Iterator[tuple[TurnEnded, int]]:
    """The turns that ended, and when; one that cannot be read counts for nothing."""
    for entry_id, envelope in events:
        if envelope.type == TurnEnded.TYPE:
            with suppress(MalformedEnvelope):
                yield envelope.payload(TurnEnded), entry_time(entry_id)


def _row(entry_id: str, envelope: Envelope) -> dict[str, str | int]:
    data = json.dumps(envelope.data, ensure_ascii=False, separators=(",", ":"))
    size = len(data.encode())
    if size > MAX_DATA_BYTES:
        data = json.dumps({"text": f"an event of {size} bytes was not kept"})
    turn_id, seq = envelope.data.get("turn_id"), envelope.data.get("seq")
    return {
        "entry_id": entry_id,
        "envelope_id": envelope.id,
        "at": entry_time(entry_id),
        "type": envelope.type,
        "turn_id": turn_id if isinstance(turn_id, str) else "",
        "seq": seq if isinstance(seq, int) and abs(seq) < 2**31 else 0,
        "data": data,
    }


def event_of(row: sqlite3.Row) -> RecordedEvent:
    at = from_milliseconds(row["at"])
    return RecordedEvent(row["entry_id"], at, row["type"], row["turn_id"], row["seq"], json.loads(row["data"]))

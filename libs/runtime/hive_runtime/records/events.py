"""`agents/<name>/events.sqlite`: an agent's live events. Written by the broker, read by the dashboard."""

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from hive_contracts.envelope import Envelope
from hive_runtime.records.messages import from_milliseconds
from hive_runtime.store import Store, read_only

MIGRATIONS: Final = (files("hive_runtime.records").joinpath("events.sql").read_text(),)

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
    """The broker's side of one agent's store."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, MIGRATIONS)

    def record(self, events: Sequence[tuple[str, Envelope]]) -> None:
        """Record (entry id, envelope) pairs; those already there are left alone."""
        rows = [_row(entry_id, envelope) for entry_id, envelope in events]
        with self._store.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO events (entry_id, envelope_id, at, type, turn_id, seq, data)"
                " VALUES (:entry_id, :envelope_id, :at, :type, :turn_id, :seq, :data)",
                rows,
            )

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
        return [_event(row) for row in (rows if after is not None else reversed(rows))]


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


def _event(row: sqlite3.Row) -> RecordedEvent:
    at = from_milliseconds(row["at"])
    return RecordedEvent(row["entry_id"], at, row["type"], row["turn_id"], row["seq"], json.loads(row["data"]))

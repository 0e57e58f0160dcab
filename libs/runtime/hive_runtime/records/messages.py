"""`broker.sqlite`: every message and the steps of its life. Written by the broker, read by the dashboard."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hive_contracts.messages import Message, MessageState, MessageStep, MessageView
from hive_runtime.errors import StoreUnavailable
from hive_runtime.store import Store, read_only

MIGRATIONS: Final = tuple(
    files("hive_runtime.records").joinpath(name).read_text()
    for name in ("messages.sql", "messages_2.sql", "threads.sql")
)

_INSERT: Final = """
INSERT INTO messages (id, sender, recipient, body, state, sent_at, in_reply_to, trace_id, hop,
                      broadcast, context_only, urgent)
VALUES (:id, :sender, :recipient, :body, 'accepted', :sent_at, :in_reply_to, :trace_id, :hop,
        :broadcast, :context_only, :urgent)
ON CONFLICT (id) DO NOTHING
"""
_STEP: Final = """
INSERT INTO steps (message_id, at, state, turn_id, reason) VALUES (:id, :at, :state, :turn_id, :reason)
ON CONFLICT (message_id, state, turn_id) DO NOTHING
"""
_ADVANCE: Final = """
UPDATE messages SET attempts = attempts + (:state = 'in_turn'), tries = max(0, tries + :tries),
  state = CASE WHEN :state = 'delivered' AND state <> 'accepted' THEN state ELSE :state END  -- told late: no step back
WHERE id = :id AND recipient = :recipient AND state <> 'acked'
  AND (state NOT IN ('dead', 'expired') OR :state = 'acked')  -- its last turn may yet end well
  AND NOT EXISTS (SELECT 1 FROM steps WHERE message_id = :id AND steps.state = :state AND turn_id = :turn_id)
"""
_UNDONE: Final = "state <> 'acked' AND state NOT IN ('dead', 'expired')"
_HAVING: Final = """
SELECT 1 FROM messages JOIN steps ON message_id = id
WHERE id = :id AND recipient = :recipient AND steps.state = :state AND turn_id = :turn_id
"""


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


def from_milliseconds(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1000, UTC)


class MessageWriter:
    """The broker's side. Every method may be repeated: a step is recorded once, and an acked message stays acked."""

    def __init__(self, path: Path) -> None:
        self._store = Store(path, MIGRATIONS)

    def accept(self, messages: Sequence[Message]) -> None:
        """Record as accepted those that are new."""
        with self._store.transaction() as db:
            for message in messages:
                sent_at = milliseconds(message.sent_at)
                row = message.model_dump(exclude={"sent_at"}) | {"sent_at": sent_at}
                if db.execute(_INSERT, row).rowcount:
                    db.execute(_STEP, _step(message.id, sent_at, MessageState.ACCEPTED))

    def advance(  # noqa: PLR0913 - a step has as many sides
        self,
        recipient: str,
        ids: Sequence[str],
        state: MessageState,
        *,
        at: int,
        turn_id: str = "",
        reason: str = "",
        tries: Mapping[str, int] = MappingProxyType({}),
    ) -> list[str]:
        """Move messages of `recipient` on; returns the ids for which this is news. Others' messages are not touched.

        `tries`: message id → by how much this changes the tries that count against it.
        """
        news = []
        with self._store.transaction() as db:
            for message_id in ids:
                row = _step(message_id, at, state, turn_id=turn_id, reason=reason)
                change = {"recipient": recipient, "tries": tries.get(message_id, 0)}
                if db.execute(_ADVANCE, row | change).rowcount:
                    db.execute(_STEP, row)
                    news.append(message_id)
        return news

    def delivered(self, messages: Sequence[Message], *, at: int) -> None:
        """Record that these reached their inboxes."""
        with self._store.transaction() as db:
            for message in messages:
                row = _step(message.id, at, MessageState.DELIVERED)
                if db.execute(_ADVANCE, row | {"recipient": message.recipient, "tries": 0}).rowcount:
                    db.execute(_STEP, row)

    def find(self, message_id: str, recipient: str) -> MessageView | None:
        """The message, if `recipient` received it. Raises `StoreUnavailable`."""
        where = "id = :id AND recipient = :recipient"
        with reading():
            found = select(self._store.connection, where, id=message_id, recipient=recipient)
        return found[0] if found else None

    def having(self, recipient: str, ids: Sequence[str], state: MessageState, *, turn_id: str) -> list[str]:
        """Those of `ids` that `recipient` received and that took this step. Raises `StoreUnavailable`."""
        row = {"recipient": recipient, "state": state.value, "turn_id": turn_id}
        with reading():
            return [i for i in ids if self._store.connection.execute(_HAVING, row | {"id": i}).fetchone()]

    @property
    def store(self) -> Store:
        """For the writers of what stands beside messages."""
        return self._store

    def close(self) -> None:
        self._store.close()


class MessageReader:
    """Anyone's side: each call opens read-only, and finds nothing while the store does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, message_id: str) -> MessageView | None:
        """With its steps."""
        with self._open() as db:
            found = with_steps(db, select(db, "id = :id", id=message_id)) if db else []
        return found[0] if found else None

    def recent(self, *, agent: str | None = None, before: str | None = None, limit: int = 50) -> list[MessageView]:
        """Newest first, of everybody or to and from `agent`; `before` a message id."""
        where = "TRUE" if agent is None else "(sender = :agent OR recipient = :agent)"
        if before is not None:
            where += " AND number < (SELECT number FROM messages WHERE id = :before)"
        with self._open() as db:
            return select(db, where, limit=limit, agent=agent, before=before) if db else []

    def inbox(self, recipient: str, *, limit: int = 50, undone: bool = False) -> list[MessageView]:
        """Newest first; `undone`: only those that are neither acked nor dead."""
        where = "recipient = :recipient" + (f" AND {_UNDONE}" if undone else "")
        with self._open() as db:
            return select(db, where, limit=limit, recipient=recipient) if db else []

    def conversation(self, trace_id: str) -> list[MessageView]:
        """Oldest first, with their steps."""
        with self._open() as db:
            return with_steps(db, select(db, "trace_id = :trace_id", trace_id=trace_id)[::-1]) if db else []

    def dead(self, *, limit: int = 200) -> list[MessageView]:
        """The dead letters, newest message first, with their steps."""
        with self._open() as db:
            return with_steps(db, select(db, "state IN ('dead', 'expired')", limit=limit)) if db else []

    def count_dead(self) -> int:
        with self._open() as db:
            if not db:
                return 0
            return int(db.execute("SELECT count(*) FROM messages WHERE state IN ('dead', 'expired')").fetchone()[0])

    def unread(self) -> dict[str, int]:
        """Recipient → messages that are neither acked nor dead."""
        with self._open() as db:
            if not db:
                return {}
            query = f"SELECT recipient, count(*) FROM messages WHERE {_UNDONE} GROUP BY recipient"  # noqa: S608
            return dict(db.execute(query))

    def _open(self) -> AbstractContextManager[sqlite3.Connection | None]:
        return read_only(self._path)


@contextmanager
def reading() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnavailable(f"cannot read the store of messages: {error}") from error


def _step(
    message_id: str, at: int, state: MessageState, *, turn_id: str = "", reason: str = ""
) -> dict[str, str | int]:
    return {"id": message_id, "at": at, "state": state.value, "turn_id": turn_id, "reason": reason}


def select(db: sqlite3.Connection, where: str, *, limit: int = 500, **values: str | int | None) -> list[MessageView]:
    query = f"SELECT * FROM messages WHERE {where} ORDER BY number DESC LIMIT :limit"  # noqa: S608 - constants only
    return [_view(row) for row in db.execute(query, values | {"limit": limit})]


def _view(row: Mapping[str, str | int] | sqlite3.Row) -> MessageView:
    fields = {key: row[key] for key in row.keys() if key != "number"}  # noqa: SIM118 - a Row iterates over values
    return MessageView.model_validate(fields | {"sent_at": from_milliseconds(int(row["sent_at"]))})


def with_steps(db: sqlite3.Connection, messages: Sequence[MessageView]) -> list[MessageView]:
    return [message.model_copy(update={"steps": _steps(db, message.id)}) for message in messages]


def _steps(db: sqlite3.Connection, message_id: str) -> tuple[MessageStep, ...]:
    rows = db.execute("SELECT * FROM steps WHERE message_id = :id", {"id": message_id}).fetchall()
    rows.sort(key=lambda row: (row["at"], list(MessageState).index(MessageState(row["state"]))))
    return tuple(
        MessageStep(
            state=MessageState(row["state"]), at=from_milliseconds(row["at"]), detail=row["reason"] or row["turn_id"]
        )
        for row in rows
    )

"""`broker.sqlite`: every message and the steps of its life. Written by the broker, read by the dashboard.

The record follows what happens: messages come from `hive:events`, where the broker told of their delivery, and steps
from the live streams of their recipients. Neither waits for the other; a step that comes first is kept until its
message is there.
"""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hive_contracts.messages import Message, MessageKind, MessageState, MessageStep, MessageView
from hive_runtime.store import Store, read_only

MIGRATIONS: Final = tuple(
    files("hive_runtime.records").joinpath(name).read_text()
    for name in ("messages.sql", "messages_2.sql", "threads.sql", "permissions.sql", "messages_3.sql")
)

_INSERT: Final = """
INSERT INTO messages (id, sender, recipient, body, state, sent_at, in_reply_to, trace_id, hop,
                      broadcast, context_only, urgent, about)
VALUES (:id, :sender, :recipient, :body, 'accepted', :sent_at, :in_reply_to, :trace_id, :hop,
        :broadcast, :context_only, :urgent, :about)
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
_EARLY: Final = """
INSERT INTO early_steps (message_id, recipient, at, state, turn_id, reason, tries, noted_at)
VALUES (:id, :recipient, :at, :state, :turn_id, :reason, :tries, :now)
ON CONFLICT (message_id, recipient, state, turn_id) DO NOTHING
"""
_EARLY_LATELY: Final = """
DELETE FROM early_steps WHERE noted_at < :before OR (recipient = :recipient AND number <= (
  SELECT number FROM early_steps WHERE recipient = :recipient ORDER BY number DESC LIMIT 1 OFFSET :most))
"""
_UNDONE: Final = "state <> 'acked' AND state NOT IN ('dead', 'expired')"
_TOLD: Final = """
SELECT message_id, recipient, at, steps.state, turn_id, reason, 0 AS tries FROM steps JOIN messages ON id = message_id
WHERE message_id IN (SELECT value FROM json_each(:ids)) AND steps.state IN ('in_turn', 'acked', 'failed') ORDER BY at
"""
_CORRESPONDENCE: Final = """
SELECT * FROM messages WHERE trace_id IN (SELECT value FROM json_each(:traces))
  AND (sender = :name OR recipient = :name) ORDER BY number DESC LIMIT :limit
"""
_OF_AGENT: Final = """
number IN (
  SELECT number FROM (
    SELECT number FROM messages WHERE sender = :agent {older} ORDER BY number DESC LIMIT :reach)
  UNION SELECT number FROM (
    SELECT number FROM messages WHERE recipient = :agent {older} ORDER BY number DESC LIMIT :reach))
"""
_NEAR: Final = (
    "number > coalesce((SELECT number FROM messages WHERE id = :before), (SELECT max(number) FROM messages)) - :reach"
)
_HAVING: Final = """
SELECT 1 FROM messages JOIN steps ON message_id = id
WHERE id = :id AND recipient = :recipient AND steps.state = :state AND turn_id = :turn_id
"""


_KINDS: Final = {
    MessageKind.AGENTS: "sender NOT IN ('operator', 'system') AND recipient <> 'operator'",
    MessageKind.OPERATOR: "(sender = 'operator' OR recipient = 'operator')",
    MessageKind.SYSTEM: "sender = 'system'",
    MessageKind.URGENT: "urgent = 1",
    MessageKind.BROADCAST: "broadcast = 1",
    MessageKind.WAITING: _UNDONE,
}

REACH: Final = 10_000
"""Messages that are looked through for those of a kind."""

MAX_EARLY: Final = 10_000
EARLY_MS: Final = 7 * 24 * 3600 * 1000
"""Steps kept per recipient for messages that are not on record, and for how long: a container may invent them."""


@dataclass(frozen=True, slots=True)
class Told:
    """A step of a message as `recipient` told it, in milliseconds. `tries` as in `MessageWriter.advance`."""

    message_id: str
    recipient: str
    at: int
    state: MessageState
    turn_id: str
    reason: str
    tries: int


def milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def from_milliseconds(value: int) -> datetime:
    return datetime.fromtimestamp(value / 1000, UTC)


class MessageWriter:
    """The broker's side. Every method may be repeated: a step is recorded once, and an acked message stays acked."""

    def __init__(self, path: Path, *, patient: bool = False) -> None:
        self._store = Store(path, MIGRATIONS, patient=patient)

    def position(self) -> str:
        """The newest entry of `hive:events` up to which all is recorded; `0-0` while there is none."""
        with self._store.reading() as db:
            row = db.execute("SELECT entry_id FROM position").fetchone()
        return str(row["entry_id"]) if row else "0-0"

    def record(
        self, delivered: Sequence[tuple[Message, int]], *, retold: Sequence[Told] = (), position: str = ""
    ) -> list[Told]:
        """Record messages as delivered, each at its time in milliseconds, unless they are.

        What was told of them before is recorded with them; returns those steps, in the order in which they were told.
        `retold`: steps that were recorded once, for a record that begins anew. Then all up to `position` is recorded.
        """
        taken = []
        with self._store.transaction() as db:
            early = db.execute("SELECT EXISTS (SELECT 1 FROM early_steps)").fetchone()[0]
            for message, at in delivered:
                self._record(db, message, at)
                if early:
                    taken += self._take_early(db, message)
            for step in retold:
                self._advance(db, step)
            if position:
                db.execute("INSERT OR REPLACE INTO position VALUES (1, :entry_id)", {"entry_id": position})
        return taken

    def _record(self, db: sqlite3.Connection, message: Message, at: int) -> None:
        sent_at = milliseconds(message.sent_at)
        if db.execute(_INSERT, _row(message) | {"sent_at": sent_at}).rowcount:
            db.execute(_STEP, _step(message.id, sent_at, MessageState.ACCEPTED))
        step = _step(message.id, max(at, sent_at), MessageState.DELIVERED)
        if db.execute(_ADVANCE, step | {"recipient": message.recipient, "tries": 0}).rowcount:
            db.execute(_STEP, step)

    def _take_early(self, db: sqlite3.Connection, message: Message) -> list[Told]:
        found = db.execute("SELECT * FROM early_steps WHERE message_id = :id ORDER BY number", {"id": message.id})
        steps = [_early(row) for row in found.fetchall()]
        db.execute("DELETE FROM early_steps WHERE message_id = :id", {"id": message.id})
        return [step for step in steps if step.recipient == message.recipient and self._advance(db, step)]

    def _advance(self, db: sqlite3.Connection, step: Told) -> bool:
        row = _step(step.message_id, step.at, step.state, turn_id=step.turn_id, reason=step.reason)
        if not db.execute(_ADVANCE, row | {"recipient": step.recipient, "tries": step.tries}).rowcount:
            return False
        db.execute(_STEP, row)
        return True

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

        Of a message that is not on record yet it is kept, and told by `record`.
        `tries`: message id → by how much this changes the tries that count against it.
        """
        steps = [Told(i, recipient, at, state, turn_id, reason, tries.get(i, 0)) for i in ids]
        with self._store.transaction() as db:
            news = [step.message_id for step in steps if self._advance(db, step)]
            self._keep_early(db, recipient, [step for step in steps if step.message_id not in news])
        return news

    def _keep_early(self, db: sqlite3.Connection, recipient: str, steps: Sequence[Told]) -> None:
        now = time.time_ns() // 1_000_000
        kept = False
        for step in steps:
            if db.execute("SELECT 1 FROM messages WHERE id = :id", {"id": step.message_id}).fetchone() is None:
                row = _step(step.message_id, step.at, step.state, turn_id=step.turn_id, reason=step.reason)
                db.execute(_EARLY, row | {"recipient": recipient, "tries": step.tries, "now": now})
                kept = True
        if kept:
            db.execute(_EARLY_LATELY, {"recipient": recipient, "most": MAX_EARLY, "before": now - EARLY_MS})

    def find(self, message_id: str, recipient: str) -> MessageView | None:
        """The message, if `recipient` received it. Raises `StoreUnavailable`."""
        where = "id = :id AND recipient = :recipient"
        with self._store.reading() as db:
            found = select(db, where, id=message_id, recipient=recipient)
        return found[0] if found else None

    def known(self, ids: Sequence[str]) -> dict[str, MessageView]:
        """Those of `ids` that are on record. Raises `StoreUnavailable`.

        Each message that is sent waits for it: looked up one by one, an id costs a tenth of a list as JSON.
        """
        with self._store.reading() as db:
            rows = [db.execute("SELECT * FROM messages WHERE id = :id", {"id": i}).fetchone() for i in ids]
        return {row["id"]: _view(row) for row in rows if row}

    def told(self, ids: Sequence[str]) -> list[Told]:
        """What recipients said of these messages so far, in order. Raises `StoreUnavailable`."""
        with self._store.reading() as db:
            rows = db.execute(_TOLD, {"ids": json.dumps(ids)}).fetchall()
        return [_early(row) for row in rows]

    def having(self, recipient: str, ids: Sequence[str], state: MessageState, *, turn_id: str) -> list[str]:
        """Those of `ids` that `recipient` received and that took this step. Raises `StoreUnavailable`."""
        row = {"recipient": recipient, "state": state.value, "turn_id": turn_id}
        with self._store.reading() as db:
            return [i for i in ids if db.execute(_HAVING, row | {"id": i}).fetchone()]

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

    def recent(
        self,
        *,
        agent: str | None = None,
        kind: MessageKind | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[MessageView]:
        """Newest first, of everybody or to and from `agent`; `before` a message id. Of a `kind`: those among the
        `REACH` messages before that one, so that a rare kind costs no more the longer the hive runs."""
        older = _older(before)
        # each side by its index: an OR of both would sort all that the agent ever sent or was sent
        where = f"TRUE {older}" if agent is None else _OF_AGENT.format(older=older)
        if kind is not None:
            where += f" AND {_NEAR} AND {_KINDS[kind]}"
        reach = limit if kind is None else REACH
        with self._open() as db:
            return select(db, where, limit=limit, agent=agent, before=before, reach=reach) if db else []

    def inbox(
        self, recipient: str, *, before: str | None = None, limit: int = 50, undone: bool = False
    ) -> list[MessageView]:
        """Newest first, `before` a message id; `undone`: only those that are neither acked nor dead."""
        where = "recipient = :recipient" + (f" AND {_UNDONE}" if undone else "") + _older(before)
        with self._open() as db:
            return select(db, where, limit=limit, recipient=recipient, before=before) if db else []

    def conversation(self, trace_id: str) -> list[MessageView]:
        """Oldest first, with their steps."""
        with self._open() as db:
            return with_steps(db, select(db, "trace_id = :trace_id", trace_id=trace_id)[::-1]) if db else []

    def correspondence(self, name: str, traces: Sequence[str], *, limit: int = 300) -> list[MessageView]:
        """What `name` sent and was sent in these conversations, oldest first; the newest `limit` of it."""
        values = {"traces": json.dumps(traces), "name": name, "limit": limit}
        with self._open() as db:
            return [_view(row) for row in db.execute(_CORRESPONDENCE, values)][::-1] if db else []

    def in_hand(self) -> dict[str, str]:
        """Recipient → the body of the message that its turn is about."""
        query = f"SELECT recipient, body FROM messages WHERE {_UNDONE} AND state = 'in_turn' ORDER BY number"  # noqa: S608
        with self._open() as db:
            return {row["recipient"]: row["body"] for row in db.execute(query)} if db else {}

    def dead(self, *, before: str | None = None, limit: int = 200) -> list[MessageView]:
        """The dead letters, newest message first, `before` a message id, with their steps."""
        where = "state IN ('dead', 'expired')" + _older(before)
        with self._open() as db:
            return with_steps(db, select(db, where, limit=limit, before=before)) if db else []

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

    def oldest_undone(self) -> dict[str, int]:
        """Recipient → when the oldest message that is neither acked nor dead was sent, in milliseconds."""
        with self._open() as db:
            if not db:
                return {}
            query = f"SELECT recipient, min(sent_at) FROM messages WHERE {_UNDONE} GROUP BY recipient"  # noqa: S608
            return dict(db.execute(query))

    def _open(self) -> AbstractContextManager[sqlite3.Connection | None]:
        return read_only(self._path)


def _step(
    message_id: str, at: int, state: MessageState, *, turn_id: str = "", reason: str = ""
) -> dict[str, str | int]:
    return {"id": message_id, "at": at, "state": state.value, "turn_id": turn_id, "reason": reason}


def _row(message: Message) -> dict[str, str | int | None]:
    about = message.about.model_dump_json() if message.about else None
    return message.model_dump(exclude={"sent_at", "about"}) | {"about": about}


def _early(row: sqlite3.Row) -> Told:
    return Told(
        row["message_id"],
        row["recipient"],
        row["at"],
        MessageState(row["state"]),
        row["turn_id"],
        row["reason"],
        row["tries"],
    )


def select(db: sqlite3.Connection, where: str, *, limit: int = 500, **values: str | int | None) -> list[MessageView]:
    query = f"SELECT * FROM messages WHERE {where} ORDER BY number DESC LIMIT :limit"  # noqa: S608 - constants only
    return [_view(row) for row in db.execute(query, values | {"limit": limit})]


def _view(row: Mapping[str, str | int] | sqlite3.Row) -> MessageView:
    fields = {key: row[key] for key in row.keys() if key != "number"}  # noqa: SIM118 - a Row iterates over values
    about = fields.get("about")  # an older store has no such column
    changed = {"sent_at": from_milliseconds(int(row["sent_at"])), "about": json.loads(str(about)) if about else None}
    return MessageView.model_validate(fields | changed)


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


def _older(before: str | None) -> str:
    return "" if before is None else " AND number < (SELECT number FROM messages WHERE id = :before)"

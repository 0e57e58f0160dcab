"""Questions and reminders in `broker.sqlite`. Written by the broker, read by the dashboard.

A state changes by a conditional update that says whether it did. What time did, not a request, is marked `untold`
until its owner has been told: that mark, like a request's entry in its outbox, is what brings the telling back after
a crash.
"""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hive_contracts.permissions import PermissionRequest
from hive_contracts.questions import QuestionState, QuestionView
from hive_contracts.reminders import ReminderState, ReminderView
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.store import Store, read_only

_ASK: Final = """
INSERT INTO questions (id, asker, addressee, question, options, multi, trace_id, hop, asked_at, expires_at, state,
                       permission)
VALUES (:id, :asker, :addressee, :question, :options, :multi, :trace_id, :hop, :asked_at, :expires_at, 'open',
        :permission)
ON CONFLICT (id) DO NOTHING
"""
_CLOSE: Final = """
UPDATE questions SET state = :state, answer = :answer, answerer = :answerer, closed_at = :at, closed_by = :closed_by
WHERE id = :id AND state = 'open' AND (expires_at IS NULL OR expires_at > :at)
"""
_EXPIRE: Final = """
UPDATE questions SET state = 'expired', closed_at = :now, untold = 1 WHERE state = 'open' AND expires_at <= :now
"""
_CLOSE_AGAIN: Final = """
UPDATE questions SET state = :state, answer = :answer, answerer = :answerer, closed_at = :at
WHERE id = :id AND state = 'open' AND :state <> 'open'
"""
_END_AGAIN: Final = "UPDATE reminders SET state = :state WHERE id = :id AND state = 'waiting'"
_PURGE: Final = (
    """
UPDATE questions SET state = 'cancelled', answerer = 'operator', closed_at = :before, closed_by = 'purge', untold = 0
WHERE asker = :name AND asked_at <= :before AND (state = 'open' OR untold = 1)
""",
    """
UPDATE questions SET state = 'expired', closed_at = :before, untold = 1
WHERE addressee = :name AND state = 'open' AND asked_at <= :before
""",
    """
UPDATE reminders SET state = 'cancelled', closed_by = 'purge', untold = 0
WHERE owner = :name AND set_at <= :before AND (state = 'waiting' OR untold = 1)
""",
)
_SET: Final = """
INSERT INTO reminders (id, owner, message, trace_id, hop, set_at, due_at, state)
VALUES (:id, :owner, :message, :trace_id, :hop, :set_at, :due_at, 'waiting') ON CONFLICT (id) DO NOTHING
"""
_FIRE: Final = """
UPDATE reminders SET state = 'due', fired_at = :now, untold = 1 WHERE state = 'waiting' AND due_at <= :now
"""
_NEXT: Final = """
SELECT min(at) FROM (
  SELECT min(expires_at) AS at FROM questions WHERE state = 'open' AND expires_at IS NOT NULL
  UNION ALL SELECT min(due_at) FROM reminders WHERE state = 'waiting')
"""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what only the broker needs. `closed_by` names the request that closed it."""

    view: QuestionView
    trace_id: str
    hop: int
    closed_by: str = ""


@dataclass(frozen=True, slots=True)
class Reminder:
    """A reminder with what only the broker needs. Times in milliseconds; `fired_at` is None while it waits."""

    view: ReminderView
    trace_id: str
    hop: int
    due_at: int
    fired_at: int | None = None
    closed_by: str = ""


class ThreadWriter:
    """The broker's side. Every method may be repeated, and raises `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ask(self, question: Question) -> None:
        """Record the question, unless it is there."""
        with self._store.transaction() as db:
            db.execute(_ASK, _question_row(question))

    def question(self, question_id: str) -> Question | None:
        found = self._all("SELECT * FROM questions WHERE id = :id", id=question_id)
        return _question(found[0]) if found else None

    def close_question(
        self, question_id: str, state: QuestionState, *, answer: str = "", answerer: str, closed_by: str, at: int
    ) -> bool:
        """True when this closed it: it was open, and its time has not run out."""
        row = {"id": question_id, "state": state.value, "answer": answer, "answerer": answerer, "at": at}
        with self._store.transaction() as db:
            return db.execute(_CLOSE, row | {"closed_by": closed_by}).rowcount == 1

    def set_reminder(self, reminder: Reminder) -> None:
        """Record the reminder, unless it is there."""
        with self._store.transaction() as db:
            db.execute(_SET, _reminder_row(reminder))

    def bring_back(self, questions: Iterable[Question], reminders: Iterable[Reminder]) -> None:
        """As they were told; what is on record stays as it is, but for its end, where it has none."""
        with self._store.transaction() as db:
            for question in questions:
                db.execute(_ASK, _question_row(question))
                db.execute(_CLOSE_AGAIN, _closed_row(question.view))
            for reminder in reminders:
                db.execute(_SET, _reminder_row(reminder))
                db.execute(_END_AGAIN, {"id": reminder.view.id, "state": reminder.view.state.value})

    def purge(self, name: str, *, before: int) -> None:
        """Nobody called `name` is there any more, up to that time: what it asked and set is cancelled, and what it was
        asked expires, and is untold."""
        with self._store.transaction() as db:
            for change in _PURGE:
                db.execute(change, {"name": name, "before": before})

    def reminder(self, reminder_id: str) -> Reminder | None:
        found = self._all("SELECT * FROM reminders WHERE id = :id", id=reminder_id)
        return _reminder(found[0]) if found else None

    def cancel_reminder(self, reminder_id: str, *, closed_by: str) -> bool:
        """True when this cancelled it: it had not come yet."""
        query = "UPDATE reminders SET state = 'cancelled', closed_by = :by WHERE id = :id AND state = 'waiting'"
        with self._store.transaction() as db:
            return db.execute(query, {"id": reminder_id, "by": closed_by}).rowcount == 1

    def count_open(self, asker: str) -> int:
        """Open questions of `asker`."""
        return int(self._all("SELECT count(*) FROM questions WHERE asker = :n AND state = 'open'", n=asker)[0][0])

    def count_waiting(self, owner: str) -> int:
        """Waiting reminders of `owner`."""
        return int(self._all("SELECT count(*) FROM reminders WHERE owner = :n AND state = 'waiting'", n=owner)[0][0])

    def run_out(self, now: int) -> None:
        """Expire questions and fire reminders whose time has come; marks them untold."""
        with self._store.transaction() as db:
            db.execute(_EXPIRE, {"now": now})
            db.execute(_FIRE, {"now": now})

    def untold_questions(self) -> list[Question]:
        return [_question(row) for row in self._all("SELECT * FROM questions WHERE untold = 1 ORDER BY number")]

    def untold_reminders(self) -> list[Reminder]:
        return [_reminder(row) for row in self._all("SELECT * FROM reminders WHERE untold = 1 ORDER BY due_at, number")]

    def told(self, thread_id: str) -> None:
        """The owner knows."""
        with self._store.transaction() as db:
            db.execute("UPDATE questions SET untold = 0 WHERE id = :id", {"id": thread_id})
            db.execute("UPDATE reminders SET untold = 0 WHERE id = :id", {"id": thread_id})

    def next_due(self) -> int | None:
        """The next time at which something runs out."""
        found = self._all(_NEXT)[0][0]
        return None if found is None else int(found)

    def asked(self, name: str, *, limit: int) -> list[QuestionView]:
        """Open questions that `name` asked, oldest first."""
        query = "SELECT * FROM questions WHERE asker = :name AND state = 'open' ORDER BY number LIMIT :limit"
        return [_view(row) for row in self._all(query, name=name, limit=limit)]

    def to_answer(self, name: str, *, limit: int) -> list[QuestionView]:
        """Open questions that `name` is asked, oldest first."""
        query = "SELECT * FROM questions WHERE addressee = :name AND state = 'open' ORDER BY number LIMIT :limit"
        return [_view(row) for row in self._all(query, name=name, limit=limit)]

    def reminders(self, name: str, *, limit: int) -> list[ReminderView]:
        """Waiting reminders of `name`, the next first."""
        query = "SELECT * FROM reminders WHERE owner = :name AND state = 'waiting' ORDER BY due_at LIMIT :limit"
        return [_reminder(row).view for row in self._all(query, name=name, limit=limit)]

    def _all(self, query: str, **values: str | int) -> list[sqlite3.Row]:
        with self._store.reading() as db:
            return db.execute(query, values).fetchall()


class ThreadReader:
    """Anyone's side: each call opens read-only, and finds nothing while the store is not there or is an older one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, question_id: str) -> QuestionView | None:
        found = self._select("id = :id", id=question_id, limit=1)
        return found[0] if found else None

    def open_to(self, name: str, *, limit: int = 100) -> list[QuestionView]:
        """Questions that wait for `name`, oldest first."""
        return self._select("addressee = :name AND state = 'open'", name=name, limit=limit)[::-1]

    def recent(self, *, before: str | None = None, limit: int = 50) -> list[QuestionView]:
        """Everybody's, newest first; `before` a question's id."""
        if before is None:
            return self._select("TRUE", limit=limit)
        return self._select("number < (SELECT number FROM questions WHERE id = :before)", before=before, limit=limit)

    def _select(self, where: str, **values: str | int) -> list[QuestionView]:
        query = f"SELECT * FROM questions WHERE {where} ORDER BY number DESC LIMIT :limit"  # noqa: S608 - constants only
        with self._open() as db:
            if db is None or not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'questions'").fetchone():
                return []
            return [_view(row) for row in db.execute(query, values)]

    def _open(self) -> AbstractContextManager[sqlite3.Connection | None]:
        return read_only(self._path)


def _question_row(question: Question) -> dict[str, str | int | None]:
    view = question.view
    return {
        "id": view.id,
        "asker": view.asker,
        "addressee": view.to,
        "question": view.question,
        "options": json.dumps(view.options),
        "multi": int(view.multi),
        "trace_id": question.trace_id,
        "hop": question.hop,
        "asked_at": milliseconds(view.asked_at),
        "expires_at": None if view.expires_at is None else milliseconds(view.expires_at),
        "permission": view.permission.model_dump_json() if view.permission else None,
    }


def _closed_row(view: QuestionView) -> dict[str, str | int | None]:
    at = None if view.closed_at is None else milliseconds(view.closed_at)
    return {"id": view.id, "state": view.state.value, "answer": view.answer, "answerer": view.answerer, "at": at}


def _reminder_row(reminder: Reminder) -> dict[str, str | int]:
    view = reminder.view
    row: dict[str, str | int] = {"id": view.id, "owner": view.owner, "message": view.message}
    row |= {"trace_id": reminder.trace_id, "hop": reminder.hop, "due_at": reminder.due_at}
    return row | {"set_at": milliseconds(view.set_at)}


def _view(row: sqlite3.Row) -> QuestionView:
    permission = row["permission"] if "permission" in row.keys() else None  # noqa: SIM118 - a Row's keys, not values
    return QuestionView(
        id=row["id"],
        asker=row["asker"],
        to=row["addressee"],
        question=row["question"],
        options=tuple(json.loads(row["options"])),
        multi=bool(row["multi"]),
        asked_at=from_milliseconds(row["asked_at"]),
        expires_at=None if row["expires_at"] is None else from_milliseconds(row["expires_at"]),
        state=QuestionState(row["state"]),
        answer=row["answer"],
        answerer=row["answerer"],
        closed_at=None if row["closed_at"] is None else from_milliseconds(row["closed_at"]),
        permission=PermissionRequest.model_validate_json(permission) if permission else None,
    )


def _question(row: sqlite3.Row) -> Question:
    return Question(_view(row), row["trace_id"], row["hop"], row["closed_by"])


def _reminder(row: sqlite3.Row) -> Reminder:
    view = ReminderView(
        id=row["id"],
        owner=row["owner"],
        message=row["message"],
        set_at=from_milliseconds(row["set_at"]),
        due_at=from_milliseconds(row["due_at"]),
        state=ReminderState(row["state"]),
    )
    return Reminder(view, row["trace_id"], row["hop"], row["due_at"], row["fired_at"], row["closed_by"])

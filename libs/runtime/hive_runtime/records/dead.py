"""Dead letters in `broker.sqlite`: messages that were given up, and what is still to do about them."""

import sqlite3
from typing import Final

from hive_contracts.errors import NotFound, Refused
from hive_contracts.messages import MessageState, MessageView
from hive_runtime.records.messages import select, with_steps
from hive_runtime.store import Store

_GIVE_UP: Final = """
UPDATE messages SET state = :state, unburied = 1
WHERE id = :id AND recipient = :recipient AND tries >= :tries AND state NOT IN ('acked', 'dead', 'expired')
"""
_STEP: Final = """
INSERT INTO steps (message_id, at, state, turn_id, reason)
SELECT id, :at, :state, :state || '-' || redrives, :reason FROM messages WHERE id = :id
"""
_AGAIN: Final = """
UPDATE messages SET state = 'delivered', attempts = 0, tries = 0, redrives = redrives + 1 WHERE id = :id
"""
_REDRIVEN: Final = """
INSERT INTO steps (message_id, at, state, turn_id, reason) VALUES (:id, :at, 'delivered', :command, :reason)
"""
_WAITS_AGAIN: Final = """
UPDATE messages SET state = 'delivered' WHERE id = :id AND state IN ('delivered', 'in_turn', 'failed')
"""
_OVERDUE: Final = """
state IN ('delivered', 'in_turn', 'failed') AND recipient = :recipient AND sent_at < :before AND NOT EXISTS (
  SELECT 1 FROM steps WHERE message_id = messages.id AND steps.state = 'delivered' AND steps.at >= :before)
"""


class DeadLetterWriter:
    """The broker's side, beside the `MessageWriter` of the same store. Every method may be repeated."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def give_up(
        self, recipient: str, message_id: str, state: MessageState, *, reason: str, at: int, tries: int = 0
    ) -> bool:
        """Record a message of `recipient` as dead or expired, if at least `tries` count against it and it is not done.

        True where this call did it. What else is to be done, `unburied` names until `buried` is called.
        """
        values = {"id": message_id, "recipient": recipient, "state": state.value, "tries": tries}
        with self._store.transaction() as db:
            if not db.execute(_GIVE_UP, values).rowcount:
                return False
            db.execute(_STEP, {"id": message_id, "at": at, "state": state.value, "reason": reason})
        return True

    def unburied(self) -> list[MessageView]:
        """Given up, with work still to do; with their steps."""
        with self._store.reading() as db:
            return with_steps(db, select(db, "unburied = 1"))[::-1]

    def buried(self, message_id: str) -> None:
        with self._store.transaction() as db:
            db.execute("UPDATE messages SET unburied = 0 WHERE id = :id", {"id": message_id})

    def overdue(self, recipient: str, *, before: int) -> list[MessageView]:
        """What waits for `recipient` since before that time, in milliseconds since 1970."""
        with self._store.reading() as db:
            return select(db, _OVERDUE, recipient=recipient, before=before)

    def waiting(self, recipient: str, *, before: int) -> list[str]:
        """Ids of all that waits for `recipient`, sent up to that time in milliseconds since 1970; oldest first."""
        query = (
            "SELECT id FROM messages WHERE recipient = :recipient AND sent_at <= :before"
            " AND state <> 'acked' AND state NOT IN ('dead', 'expired') ORDER BY number"
        )
        with self._store.reading() as db:
            return [row["id"] for row in db.execute(query, {"recipient": recipient, "before": before})]

    def waited_for(self) -> set[str]:
        """Everyone for whom something waits."""
        query = "SELECT DISTINCT recipient FROM messages WHERE state <> 'acked' AND state NOT IN ('dead', 'expired')"
        with self._store.reading() as db:
            return {row["recipient"] for row in db.execute(query)}

    def find(self, message_id: str) -> MessageView:
        """Raises `NotFound`."""
        with self._store.reading() as db:
            found = select(db, "id = :id", id=message_id)
        if not found:
            raise NotFound(f"there is no message {message_id}; `hive dead-letters` lists those that can be sent again")
        return found[0]

    def redrive(self, message_id: str, command_id: str, *, at: int) -> None:
        """Record that a dead letter goes back to the inbox, its tries forgotten. Raises `NotFound`, `Refused`.

        The command's id makes it one step: the same command may ask again, another is refused.
        """
        view = self.find(message_id)
        values = {"id": message_id, "at": at, "command": command_id, "reason": "sent again by the operator"}
        with self._store.transaction() as db:
            if self._has_step(db, message_id, command_id):
                return
            if view.state not in {MessageState.DEAD, MessageState.EXPIRED}:
                raise Refused(f"{message_id} is no dead letter, it is {view.state.replace('_', ' ')}; nothing was done")
            db.execute(_AGAIN, values)
            db.execute(_REDRIVEN, values)

    def delivered_again(self, message_id: str, key: str, *, at: int, reason: str) -> bool:
        """Record that what waits goes into its inbox once more, under that key; False: it is done, or given up."""
        values = {"id": message_id, "at": at, "command": key, "reason": reason}
        with self._store.transaction() as db:
            if not db.execute(_WAITS_AGAIN, values).rowcount:
                return False
            db.execute(_REDRIVEN, values)
        return True

    def redriven(self, message_id: str, command_id: str) -> bool:
        """Whether this command did it already."""
        with self._store.reading() as db:
            return self._has_step(db, message_id, command_id)

    def _has_step(self, db: sqlite3.Connection, message_id: str, command_id: str) -> bool:
        query = "SELECT 1 FROM steps WHERE message_id = :id AND state = 'delivered' AND turn_id = :command"
        return db.execute(query, {"id": message_id, "command": command_id}).fetchone() is not None

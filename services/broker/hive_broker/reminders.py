"""Reminders: set by an agent for itself, delivered once when their time comes, however late that is noticed."""

import asyncio
import math
from datetime import UTC, datetime
from typing import Final

from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.mail import SOURCE, Clock, Mail
from hive_broker.questions import HOW_TO_SEE, Done
from hive_contracts import streams
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.errors import InvalidBody, NotFound, Refused
from hive_contracts.ids import message_id, reminder_id
from hive_contracts.messages import About, Message, check_body
from hive_contracts.names import OPERATOR, SYSTEM
from hive_contracts.reminders import (
    MAX_DELAY_S,
    CancelReminder,
    ReminderCancelled,
    ReminderDue,
    ReminderSet,
    ReminderState,
    ReminderView,
    SetReminder,
)
from hive_runtime.bus import Append
from hive_runtime.records.messages import from_milliseconds, milliseconds
from hive_runtime.records.threads import Reminder, ThreadWriter

LATE_MS: Final = 60_000


class Reminders:
    """Every method may be repeated with the same key. Raises `HiveError` for what is refused, and `Unavailable`."""

    def __init__(
        self,
        *,
        threads: ThreadWriter,
        known: Known,
        mail: Mail,
        directory: Directory,
        clock: Clock,
        most: int,
    ) -> None:
        self._threads = threads
        self._known = known
        self._mail = mail
        self._directory = directory
        self._clock = clock
        self._most = most

    async def set(self, owner: str, key: str, wish: SetReminder) -> Done:
        new_id = reminder_id(owner, key)
        if self._threads.reminder(new_id) is None:
            await self._record(new_id, owner, wish)
        reminder = self._find(new_id)
        view = reminder.view
        fact = ReminderSet(id=new_id, owner=owner, message=view.message, due_at=view.due_at)
        note = f"due at {view.due_at:%Y-%m-%d %H:%M:%S} UTC"
        return Done(new_id, note, [_fact(fact, reminder, "set")])

    async def cancel(self, by: str, key: str, wish: CancelReminder) -> Done:
        view = self._find(wish.id).view
        if by not in {view.owner, OPERATOR}:
            raise Refused(f"only {view.owner} or the operator may cancel {wish.id}")
        mark = f"{by} {key}"
        await asyncio.to_thread(self._threads.cancel_reminder, wish.id, closed_by=mark)
        reminder = self._find(wish.id)
        if reminder.closed_by != mark:
            came = reminder.view.state is ReminderState.DUE
            raise Refused(f"{wish.id} has {'come' if came else 'been cancelled'} already; there is nothing to cancel")
        fact = ReminderCancelled(id=view.id, owner=view.owner, message=view.message, by=by)
        return Done(wish.id, "", [_fact(fact, reminder, "cancelled")])

    async def tell_due(self) -> None:
        """Deliver the reminders whose time has come; who is not there gets theirs once they are."""
        for reminder in self._threads.untold_reminders():
            view = reminder.view
            if view.owner not in self._directory.principals():
                continue
            late = (reminder.fired_at or reminder.due_at) - reminder.due_at > LATE_MS
            fact = ReminderDue(id=view.id, owner=view.owner, message=view.message, due_at=view.due_at, late=late)
            delivered = await self._mail.deliver(_to_owner(reminder, fact))
            await self._mail.write([_fact(fact, reminder, "due"), delivered])
            await asyncio.to_thread(self._threads.told, view.id)

    async def _record(self, new_id: str, owner: str, wish: SetReminder) -> None:
        check_body(wish.message)
        now = self._clock()
        due_at = _due_at(wish, now)
        if self._threads.count_waiting(owner) >= self._most:
            raise Refused(
                f"{self._most} of your reminders wait, that is the limit; take some back with `cancel_thread`"
            )
        await self._known.load((), causes=(wish.cause,) if wish.cause else (), receiver=owner)
        cause = self._known.origin(wish.cause, owner) if wish.cause else None
        trace_id, hop = (cause.trace_id, cause.hop + 1) if cause else (new_id, 0)
        times = {"set_at": from_milliseconds(now), "due_at": from_milliseconds(due_at)}
        view = ReminderView(id=new_id, owner=owner, message=wish.message, **times)
        reminder = Reminder(view, trace_id, hop, due_at)
        await asyncio.to_thread(self._threads.set_reminder, reminder)

    def _find(self, wanted: str) -> Reminder:
        found = self._threads.reminder(wanted)
        if found is None:
            raise NotFound(f"there is no reminder {wanted[:64]!r}; {HOW_TO_SEE}")
        return found


def _due_at(wish: SetReminder, now: int) -> int:
    """In milliseconds. A time without a zone is UTC; one that has passed comes at once. Raises `InvalidBody`."""
    if (wish.at is None) == (wish.delay_seconds is None):
        raise InvalidBody("a reminder needs either `delay_seconds` or `at`; give one of them")
    if wish.delay_seconds is not None and math.isfinite(wish.delay_seconds):
        return now + round(wish.delay_seconds * 1000)
    assert wish.at is not None  # noqa: S101 - one of the two is there
    try:
        due_at = milliseconds(wish.at if wish.at.tzinfo else wish.at.replace(tzinfo=UTC))
    except (OverflowError, ValueError) as error:
        raise InvalidBody("`at` is no time that can come; give one like 2030-01-31T09:00:00Z") from error
    if due_at > now + MAX_DELAY_S * 1000:
        raise InvalidBody("`at` is more than a year away; write it into your notes instead")
    return max(due_at, 0)


def _to_owner(reminder: Reminder, fact: ReminderDue) -> Message:
    view = reminder.view
    fired_at = from_milliseconds(reminder.fired_at or reminder.due_at)
    late = f", late: it was due at {_time(view.due_at)}, now it is {_time(fired_at)}" if fact.late else ""
    about = About(kind=fact.TYPE, id=view.id, data=fact.model_dump(mode="json"))
    return Message(
        id=message_id(SYSTEM, f"{view.id}:due", view.owner),
        sender=SYSTEM,
        recipient=view.owner,
        body=f"Reminder {view.id}{late}:\n{view.message}",
        sent_at=fired_at,
        trace_id=reminder.trace_id,
        hop=reminder.hop,
        about=about,
    )


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _fact(fact: Payload, reminder: Reminder, step: str) -> Append:
    view = reminder.view
    envelope = Envelope.of(
        fact,
        source=SOURCE,
        id=f"{view.id}:{step}",
        subject=view.id,
        trace_id=reminder.trace_id,
        hop=reminder.hop,
    )
    return Append(streams.EVENTS, envelope)

"""Questions and reminders as `hive:events` still tells of them, for a store that has lost them."""

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import structlog

from hive_broker.mail import SOURCE
from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.questions import (
    QuestionAnswered,
    QuestionAsked,
    QuestionCancelled,
    QuestionExpired,
    QuestionState,
    QuestionView,
)
from hive_contracts.reminders import ReminderCancelled, ReminderDue, ReminderSet, ReminderState, ReminderView
from hive_runtime.bus import Bus
from hive_runtime.records.messages import milliseconds
from hive_runtime.records.threads import Question, Reminder

PAGE: Final = 1_000

_PREFIXES: Final = ("question.", "reminder.")

log = structlog.get_logger()


@dataclass(slots=True)
class ThreadFacts:
    """By id, each as the last that was told of it; those of which only the end is told are not among them."""

    questions: dict[str, Question] = field(default_factory=dict)
    reminders: dict[str, Reminder] = field(default_factory=dict)

    def add(self, envelope: Envelope) -> None:
        """Raises `MalformedEnvelope`."""
        match envelope.type:
            case QuestionAsked.TYPE:
                asked = envelope.payload(QuestionAsked)
                view = QuestionView(**asked.model_dump(), asked_at=envelope.time)
                self.questions.setdefault(asked.id, Question(view, envelope.trace_id, envelope.hop))
            case QuestionAnswered.TYPE:
                answered = envelope.payload(QuestionAnswered)
                how = {"answer": answered.answer, "answerer": answered.answerer}
                self._close(answered.id, QuestionState.ANSWERED, envelope.time, **how)
            case QuestionCancelled.TYPE:
                cancelled = envelope.payload(QuestionCancelled)
                self._close(cancelled.id, QuestionState.CANCELLED, envelope.time, answerer=cancelled.by)
            case QuestionExpired.TYPE:
                self._close(envelope.payload(QuestionExpired).id, QuestionState.EXPIRED, envelope.time)
            case ReminderSet.TYPE:
                self._set(envelope)
            case ReminderDue.TYPE:
                self._end(envelope.payload(ReminderDue).id, ReminderState.DUE)
            case ReminderCancelled.TYPE:
                self._end(envelope.payload(ReminderCancelled).id, ReminderState.CANCELLED)

    def _close(self, name: str, state: QuestionState, at: datetime, **how: str) -> None:
        if question := self.questions.get(name):
            view = question.view.model_copy(update={"state": state, "closed_at": at, **how})
            self.questions[name] = replace(question, view=view)

    def _set(self, envelope: Envelope) -> None:
        fact = envelope.payload(ReminderSet)
        view = ReminderView(**fact.model_dump(), set_at=envelope.time)
        reminder = Reminder(view, envelope.trace_id, envelope.hop, milliseconds(fact.due_at))
        self.reminders.setdefault(fact.id, reminder)

    def _end(self, name: str, state: ReminderState) -> None:
        if reminder := self.reminders.get(name):
            self.reminders[name] = replace(reminder, view=reminder.view.model_copy(update={"state": state}))


async def facts_after(bus: Bus, cursor: str) -> ThreadFacts:
    """What the broker told of threads after this entry. Raises `BusUnavailable`."""
    found = ThreadFacts()
    async with aclosing(bus.reader()) as reader:
        while entries := await reader.read_after({streams.EVENTS: cursor}, count=PAGE, block_ms=0):
            cursor = entries[-1].id
            for entry in entries:
                if entry.fields.get("source") == SOURCE and entry.fields.get("type", "").startswith(_PREFIXES):
                    _add(found, entry.id, entry.fields)
    return found


def _add(found: ThreadFacts, entry_id: str, fields: Mapping[str, str]) -> None:
    try:
        found.add(Envelope.decode(fields))
    except MalformedEnvelope as error:
        log.warning("event is malformed", entry=entry_id, reason=str(error)[:200])

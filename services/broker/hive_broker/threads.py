"""Requests about threads, out of an outbox: carried out or refused, answered, and only then acknowledged.

They share the outbox with sends. `Threads` are the parts of all workers.
"""

from dataclasses import dataclass
from typing import Final

import structlog

from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.limits import Limits
from hive_broker.loops import LoopReport
from hive_broker.mail import SOURCE, Clock, Mail, excerpt
from hive_broker.questions import Done, Questions
from hive_broker.reminders import Reminders
from hive_broker.schedule import Scheduler
from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import HiveError, InvalidBody, LoopGuard, Unavailable
from hive_contracts.ids import message_id
from hive_contracts.questions import (
    AnswerQuestion,
    AskQuestion,
    CancelQuestion,
    QuestionView,
    ThreadAccepted,
    ThreadRefused,
)
from hive_contracts.reminders import CancelReminder, ListThreads, SetReminder, ThreadsListed
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry
from hive_runtime.errors import StoreUnavailable
from hive_runtime.records.threads import ThreadWriter

LISTED: Final = 100
REQUESTS: Final[tuple[type[Payload], ...]] = (
    AskQuestion,
    AnswerQuestion,
    CancelQuestion,
    SetReminder,
    CancelReminder,
    ListThreads,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Threads:
    """`questions` and `reminders` know the rules; `scheduler` must run, and be woken when something new has a time."""

    store: ThreadWriter
    questions: Questions
    reminders: Reminders
    scheduler: Scheduler

    @classmethod
    def build(  # noqa: PLR0913 - what threads stand on
        cls,
        store: ThreadWriter,
        *,
        known: Known,
        mail: Mail,
        directory: Directory,
        clock: Clock,
        limits: Limits,
        depths: Depths,
        loops: LoopReport,
        most_open: int,
        most_reminders: int,
    ) -> "Threads":
        questions = Questions(
            threads=store,
            known=known,
            mail=mail,
            directory=directory,
            clock=clock,
            limits=limits,
            depths=depths,
            loops=loops,
            most_open=most_open,
        )
        reminders = Reminders(
            threads=store, known=known, mail=mail, directory=directory, clock=clock, most=most_reminders
        )
        return cls(store, questions, reminders, Scheduler(store, questions, reminders, clock))


class ThreadWorker:
    """Handles the requests in the outbox of one principal. It is whose stream it is, whatever an entry says."""

    kinds: Final = frozenset(kind.TYPE for kind in REQUESTS)

    def __init__(self, sender: str, *, bus: Bus, threads: Threads) -> None:
        self._sender = sender
        self._bus = bus
        self._threads = threads

    async def handle(self, entries: list[Entry]) -> None:
        """Each entry in order. Raises `Unavailable`; then the rest is not acknowledged."""
        for entry in entries:
            appends = await self._answer(entry)
            ack = Ack(streams.outbox(self._sender), streams.GROUP_BROKER, [entry.id], delete=True)
            await self._bus.write(Batch(appends, [ack]))

    async def _answer(self, entry: Entry) -> list[Append]:
        try:
            envelope = Envelope.decode(entry.fields)
        except MalformedEnvelope as error:
            log.warning("outbox entry is malformed", sender=self._sender, entry=entry.id, reason=str(error)[:200])
            return []
        try:
            done = await self._carry_out(envelope)
        except StoreUnavailable as error:
            if entry.redelivered:  # a part of it may be done: it waits for the store
                raise
            log.warning("request refused", sender=self._sender, type=envelope.type, reason=str(error))
            reason = "questions and reminders cannot be kept just now, the operator knows; try again in some minutes"
            return [self._reply(envelope, ThreadRefused(code=error.code, reason=reason), "refused")]
        except Unavailable:
            raise
        except HiveError as error:
            log.info("request refused", sender=self._sender, type=envelope.type, code=error.code)
            refusal = ThreadRefused(code=error.code, reason=str(error), retry=not isinstance(error, LoopGuard))
            return [self._reply(envelope, refusal, "refused")]
        if isinstance(done, ThreadsListed):
            return [self._reply(envelope, done, "listed")]
        self._threads.scheduler.wake()
        return [*done.tell, self._reply(envelope, ThreadAccepted(id=done.id, note=done.note), "accepted")]

    async def _carry_out(self, envelope: Envelope) -> Done | ThreadsListed:
        who, key = self._sender, envelope.id
        questions, reminders = self._threads.questions, self._threads.reminders
        try:
            match envelope.type:
                case AskQuestion.TYPE:
                    return await questions.ask(who, key, envelope.payload(AskQuestion))
                case AnswerQuestion.TYPE:
                    return await questions.answer(who, key, envelope.payload(AnswerQuestion))
                case CancelQuestion.TYPE:
                    return await questions.cancel(who, key, envelope.payload(CancelQuestion))
                case SetReminder.TYPE:
                    return await reminders.set(who, key, envelope.payload(SetReminder))
                case CancelReminder.TYPE:
                    return await reminders.cancel(who, key, envelope.payload(CancelReminder))
                case _:
                    return self._list()
        except MalformedEnvelope as error:
            raise InvalidBody(f"the request is not valid: {excerpt(str(error))}") from error

    def _list(self) -> ThreadsListed:
        store, name = self._threads.store, self._sender
        return ThreadsListed(
            asked=tuple(_short(view) for view in store.asked(name, limit=LISTED)),
            to_answer=tuple(_short(view) for view in store.to_answer(name, limit=LISTED)),
            reminders=tuple(
                view.model_copy(update={"message": excerpt(view.message)})
                for view in store.reminders(name, limit=LISTED)
            ),
        )

    def _reply(self, envelope: Envelope, payload: Payload, what: str) -> Append:
        identity = f"{message_id(self._sender, envelope.id, envelope.type)}:{what}"
        reply = Envelope.of(payload, source=SOURCE, id=identity, subject=self._sender, correlation_id=envelope.id)
        return Append(streams.control(self._sender), reply)


def _short(view: QuestionView) -> QuestionView:
    return view.model_copy(update={"question": excerpt(view.question)})

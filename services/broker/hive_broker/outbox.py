"""From an outbox to inboxes: check, stamp, deliver, tell, and only then acknowledge. Nothing here waits for a store.

Each step may be repeated. A crash between any two leaves the outbox entry pending; it is taken up again, the message
gets the same id, the inbox's dedup key stops a second delivery, and what is told are facts with the same ids. One of
them, `message.delivered`, holds the whole message: the record follows from it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import groupby

import structlog

from hive_broker.admission import Admission
from hive_broker.known import Known
from hive_broker.loops import LoopReport
from hive_broker.mail import SOURCE, delivered
from hive_contracts import streams
from hive_contracts.control import UrgentWaits
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import HiveError, KeyReused, LoopGuard, Unavailable
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, MessageAccepted, MessageRefused, SendMessage
from hive_contracts.names import BROADCAST, OPERATOR
from hive_runtime.bus import Ack, Append, Batch, Bus, Delivery, Entry
from hive_runtime.records.events import entry_time
from hive_runtime.records.messages import from_milliseconds

Handle = Callable[[list[Entry]], Awaitable[None]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """One send. A broadcast is one with several messages. `again`: its entry comes again, what it told is uncertain."""

    key: str
    to: str
    messages: tuple[Message, ...]
    note: str
    again: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    key: str
    to: str
    error: HiveError


class OutboxWorker:
    """Handles the outbox of one sender. The sender is whose stream it is, whatever an entry says.

    `write` takes what follows from deliveries: what is told, and the acknowledgements.
    """

    def __init__(
        self,
        sender: str,
        *,
        bus: Bus,
        known: Known,
        admission: Admission,
        loops: LoopReport,
        write: Callable[[Batch], Awaitable[None]],
    ) -> None:
        self._sender = sender
        self._write = write
        self._bus = bus
        self._known = known
        self._admission = admission
        self._loops = loops

    async def handle(self, entries: list[Entry]) -> None:
        """Deliver or refuse each entry, in order. Raises `Unavailable`; then nothing is acknowledged."""
        self._admission.begin()
        sends = [(entry, *send) for entry in entries if (send := self._decode(entry))]
        await self._admission.prepare(self._sender, [(key, send) for _, key, send in sends])
        results = [await self._check(entry, key, send) for entry, key, send in sends]
        messages = [(item.key, message) for item in results if isinstance(item, Accepted) for message in item.messages]
        envelopes = {message.id: delivered(message, correlation_id=key) for key, message in messages}
        there = await self._deliver([message for _, message in messages], envelopes)
        appends = [append for result in results for append in self._answers(result, envelopes, there)]
        acks = [Ack(streams.outbox(self._sender), streams.GROUP_BROKER, [entry.id for entry in entries], delete=True)]
        await self._write(Batch(appends, acks))

    async def _deliver(self, messages: list[Message], envelopes: dict[str, Envelope]) -> set[str]:
        """Returns the ids of those that were in their inboxes before, by the key that the inbox keeps for a day.

        Those that the record has there are left out.
        """
        new = [message for message in messages if not self._known.is_delivered(message.id)]
        fresh = await self._bus.deliver(
            [Delivery(message.recipient, message.id, envelopes[message.id]) for message in new]
        )
        for message in messages:
            self._known.remember(message, delivered=True)
        made = {message.id for message, is_fresh in zip(new, fresh, strict=True) if is_fresh}
        return {message.id for message in new} - made  # one batch may hold the same send twice

    def _decode(self, entry: Entry) -> tuple[str, SendMessage] | None:
        """Key and send; None for an entry that is not a send at all: nobody waits for an answer to it."""
        try:
            envelope = Envelope.decode(entry.fields)
            send = envelope.payload(SendMessage)
        except MalformedEnvelope as error:
            log.warning("outbox entry is malformed", sender=self._sender, entry=entry.id, reason=str(error)[:200])
            return None
        if envelope.type != SendMessage.TYPE:
            log.warning("outbox entry of unknown type", sender=self._sender, type=envelope.type)
            return None
        return envelope.id, send

    async def _check(self, entry: Entry, key: str, send: SendMessage) -> Accepted | Rejected:
        draft = self._draft(entry, key, send)
        try:
            admitted = await self._admission.admit(draft, key)
        except Unavailable:
            raise
        except HiveError as error:
            before = None if isinstance(error, KeyReused) else await self._admission.already(draft, key)
            if before is None:
                return await self._refuse(draft, key, error)
            admitted = before
        messages = [self._addressed(draft, key, name) for name in admitted.recipients]
        kept = tuple(self._known.remember(message, delivered=False) for message in messages)
        return Accepted(key, send.to, kept, admitted.note, entry.redelivered)

    async def _refuse(self, draft: Message, key: str, error: HiveError) -> Rejected:
        ids = {"message": draft.id, "trace": draft.trace_id, "correlation": key}
        log.info("message refused", sender=self._sender, to=draft.recipient, code=error.code, **ids)
        if isinstance(error, LoopGuard):
            await self._loops.report(draft, str(error))
        return Rejected(key, draft.recipient, error)

    def _draft(self, entry: Entry, key: str, send: SendMessage) -> Message:
        """The message as it would be, stamped, but for its recipient still as the sender wrote it."""
        cause = self._admission.cause(self._sender, send)
        new_id = message_id(self._sender, key, send.to)
        return Message(
            id=new_id,
            sender=self._sender,
            recipient=send.to,
            body=send.body,
            sent_at=from_milliseconds(entry_time(entry.id)),
            in_reply_to=cause.id if cause and cause.id == send.in_reply_to else None,
            trace_id=cause.trace_id if cause else new_id,
            hop=self._admission.hop(self._sender, cause),
            broadcast=send.to == BROADCAST,
            context_only=send.context_only,
            urgent=send.urgent,
        )

    def _addressed(self, draft: Message, key: str, name: str) -> Message:
        if draft.recipient == name:
            return draft
        return draft.model_copy(update={"id": message_id(self._sender, key, name), "recipient": name})

    def _answers(self, result: Accepted | Rejected, envelopes: dict[str, Envelope], there: set[str]) -> list[Append]:
        """To the sender, and to everyone who watches.

        What another entry delivered, that entry has told: should its message be swept from the record since, telling
        it again would bring it back as one that waits.
        """
        if isinstance(result, Rejected):
            refusal = self._refusal(result)
            return [Append(streams.control(self._sender), refusal), Append(streams.EVENTS, refusal)]
        answer = self._accepted(result, message_id(self._sender, result.key, result.to), result.to)
        appends = [Append(streams.control(self._sender), answer)]
        for message in result.messages:
            if message.id in there and not result.again:
                continue
            fact = answer if len(result.messages) == 1 else self._accepted(result, message.id, message.recipient)
            appends.append(Append(streams.EVENTS, fact))
            appends.append(Append(streams.EVENTS, envelopes[message.id]))
            if message.urgent and message.recipient != OPERATOR:
                appends.append(Append(streams.control(message.recipient), _nudge(message)))
        return appends

    def _accepted(self, result: Accepted, identity: str, to: str) -> Envelope:
        first = result.messages[0]
        count = len(result.messages) if to == result.to else 1
        fact = MessageAccepted(message_id=identity, sender=self._sender, to=to, note=result.note, count=count)
        return Envelope.of(
            fact,
            source=SOURCE,
            id=f"{identity}:accepted",
            subject=identity,
            correlation_id=result.key,
            trace_id=first.trace_id,
            hop=first.hop,
        )

    def _refusal(self, result: Rejected) -> Envelope:
        error = result.error
        fact = MessageRefused(
            sender=self._sender,
            to=result.to[:100],
            code=type(error).code,
            reason=str(error),
            retry=not isinstance(error, LoopGuard),
        )
        identity = f"{message_id(self._sender, result.key, result.to)}:refused"
        return Envelope.of(fact, source=SOURCE, id=identity, subject=self._sender, correlation_id=result.key)


def by_kind(sends: Handle, others: Mapping[frozenset[str], Handle]) -> Handle:
    """One handler of an outbox that gives each entry to the one that it is for, in order; `sends` gets the rest."""
    handlers = {kind: handle for kinds, handle in others.items() for kind in kinds}

    async def handle(entries: list[Entry]) -> None:
        for handler, run in groupby(entries, key=lambda entry: handlers.get(entry.fields.get("type", ""), sends)):
            await handler(list(run))

    return handle


def _nudge(message: Message) -> Envelope:
    """For the harness, which reads its inbox only when it is about to begin a turn."""
    fact = UrgentWaits(message_id=message.id)
    return Envelope.of(fact, source=SOURCE, id=f"{message.id}:urgent", subject=message.recipient)

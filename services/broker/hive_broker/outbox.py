"""From an outbox to inboxes: check, stamp, record, deliver, answer, and only then acknowledge.

Each step may be repeated. A crash between any two leaves the outbox entry pending; it is taken up again, the message
gets the same id, the inbox's dedup key stops a second delivery, and the answers are facts with the same ids.
"""

import time
from dataclasses import dataclass, replace

import structlog

from hive_broker.admission import Admission
from hive_broker.loops import LoopReport
from hive_broker.mail import SOURCE, as_recorded, delivered
from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import HiveError, LoopGuard, Unavailable
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, MessageAccepted, MessageRefused, SendMessage
from hive_contracts.names import BROADCAST
from hive_runtime.bus import Ack, Append, Batch, Bus, Delivery, Entry
from hive_runtime.records.events import entry_time
from hive_runtime.records.messages import MessageWriter, from_milliseconds

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    """One send. A broadcast is one with several messages."""

    key: str
    to: str
    messages: tuple[Message, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Rejected:
    key: str
    to: str
    error: HiveError


class OutboxWorker:
    """Handles the outbox of one sender. The sender is whose stream it is, whatever an entry says."""

    def __init__(
        self, sender: str, *, bus: Bus, messages: MessageWriter, admission: Admission, loops: LoopReport
    ) -> None:
        self._sender = sender
        self._bus = bus
        self._messages = messages
        self._admission = admission
        self._loops = loops

    async def handle(self, entries: list[Entry]) -> None:
        """Deliver or refuse each entry, in order. Raises `Unavailable`; then nothing is acknowledged."""
        self._admission.begin()
        results = [await self._check(entry) for entry in entries]
        accepted = [result for result in results if isinstance(result, Accepted)]
        self._messages.accept([message for item in accepted for message in item.messages])
        accepted = [self._as_recorded(item) for item in accepted]
        await self._bus.deliver([self._delivery(item, message) for item in accepted for message in item.messages])
        arrived = [message for item in accepted for message in item.messages]
        self._messages.delivered(arrived, at=time.time_ns() // 1_000_000)
        recorded = iter(accepted)
        told = [next(recorded) if isinstance(result, Accepted) else result for result in results]
        appends = [append for result in told if result for append in self._answers(result)]
        acks = [Ack(streams.outbox(self._sender), streams.GROUP_BROKER, [entry.id for entry in entries], delete=True)]
        await self._bus.write(Batch(appends, acks))

    async def _check(self, entry: Entry) -> Accepted | Rejected | None:
        """None for an entry that is not a send at all: nobody waits for an answer to it."""
        try:
            envelope = Envelope.decode(entry.fields)
            send = envelope.payload(SendMessage)
        except MalformedEnvelope as error:
            log.warning("outbox entry is malformed", sender=self._sender, entry=entry.id, reason=str(error)[:200])
            return None
        if envelope.type != SendMessage.TYPE:
            log.warning("outbox entry of unknown type", sender=self._sender, type=envelope.type)
            return None
        try:
            return await self._accept(entry, envelope.id, send)
        except Unavailable:
            raise
        except HiveError as error:
            log.info("message refused", sender=self._sender, to=send.to, code=error.code)
            return Rejected(envelope.id, send.to, error)

    async def _accept(self, entry: Entry, key: str, send: SendMessage) -> Accepted:
        draft = self._draft(entry, key, send)
        try:
            admitted = await self._admission.admit(draft, key)
        except LoopGuard as error:
            await self._loops.report(draft, str(error))
            raise
        messages = tuple(self._addressed(draft, key, name) for name in admitted.recipients)
        return Accepted(key, send.to, messages, admitted.note)

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

    def _as_recorded(self, item: Accepted) -> Accepted:
        """A key used before keeps the message that it made, whatever comes under it now."""
        return replace(item, messages=tuple(as_recorded(self._messages, message) for message in item.messages))

    def _delivery(self, item: Accepted, message: Message) -> Delivery:
        return Delivery(message.recipient, message.id, delivered(message, correlation_id=item.key))

    def _answers(self, result: Accepted | Rejected) -> list[Append]:
        """To the sender, and to everyone who watches."""
        if isinstance(result, Rejected):
            refusal = self._refusal(result)
            return [Append(streams.control(self._sender), refusal), Append(streams.EVENTS, refusal)]
        answer = self._accepted(result, message_id(self._sender, result.key, result.to), result.to)
        appends = [Append(streams.control(self._sender), answer)]
        for message in result.messages:
            fact = answer if len(result.messages) == 1 else self._accepted(result, message.id, message.recipient)
            appends.append(Append(streams.EVENTS, fact))
            appends.append(Append(streams.EVENTS, self._delivery(result, message).envelope))
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

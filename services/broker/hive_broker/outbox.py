"""From an outbox to inboxes: check, stamp, record, deliver, answer, and only then acknowledge.

Each step may be repeated. A crash between any two leaves the outbox entry pending; it is taken up again, the message
gets the same id, the inbox's dedup key stops a second delivery, and the answers are facts with the same ids.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

import structlog

from hive_broker.directory import Directory
from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.errors import HiveError, Refused, Unavailable, UnknownRecipient
from hive_contracts.ids import message_id
from hive_contracts.messages import (
    Message,
    MessageAccepted,
    MessageDelivered,
    MessageRefused,
    MessageView,
    SendMessage,
    check_body,
)
from hive_runtime.bus import Ack, Append, Batch, Bus, Delivery, Entry
from hive_runtime.records.events import entry_time
from hive_runtime.records.messages import MessageWriter, from_milliseconds

SOURCE: Final = "broker"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Accepted:
    key: str
    message: Message
    note: str


@dataclass(frozen=True, slots=True)
class Rejected:
    key: str
    to: str
    error: HiveError


class OutboxWorker:
    """Handles the outbox of one sender. The sender is whose stream it is, whatever an entry says."""

    def __init__(self, sender: str, *, bus: Bus, messages: MessageWriter, directory: Directory) -> None:
        self._sender = sender
        self._bus = bus
        self._messages = messages
        self._directory = directory

    async def handle(self, entries: list[Entry]) -> None:
        """Deliver or refuse each entry, in order. Raises `Unavailable`; then nothing is acknowledged."""
        results = [await self._check(entry) for entry in entries]
        self._messages.accept([result.message for result in results if isinstance(result, Accepted)])
        results = [self._as_recorded(result) if isinstance(result, Accepted) else result for result in results]
        accepted = [result for result in results if isinstance(result, Accepted)]
        await self._bus.deliver([self._delivery(item) for item in accepted])
        self._messages.delivered([item.message for item in accepted], at=time.time_ns() // 1_000_000)
        appends = [append for result in results if result for append in self._answers(result)]
        ids = [entry.id for entry in entries]
        acks = [Ack(streams.outbox(self._sender), streams.GROUP_BROKER, ids, delete=True)]
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
        check_body(send.body)
        if send.to == self._sender:
            raise Refused("you cannot send to yourself; write a note in your state directory instead")
        note = await self._note_on(send.to)
        cause = self._cause(send)
        new_id = message_id(self._sender, key, send.to)
        message = Message(
            id=new_id,
            sender=self._sender,
            recipient=send.to,
            body=send.body,
            sent_at=from_milliseconds(entry_time(entry.id)),
            in_reply_to=cause.id if cause and cause.id == send.in_reply_to else None,
            trace_id=cause.trace_id if cause else new_id,
            hop=cause.hop + 1 if cause else 0,
        )
        return Accepted(key, message, note)

    def _as_recorded(self, item: Accepted) -> Accepted:
        """A key used before keeps the message that it made, whatever comes under it now."""
        found = self._messages.find(item.message.id, item.message.recipient)
        return replace(item, message=Message.model_validate(found.model_dump())) if found else item

    async def _note_on(self, recipient: str) -> str:
        """What the sender should know of the recipient. Raises `UnknownRecipient`."""
        if recipient not in self._directory.principals():
            await self._directory.refresh()
        if recipient not in self._directory.principals():
            known = ", ".join(sorted(self._directory.principals() - {self._sender}))
            raise UnknownRecipient(f"there is nobody called {recipient!r} here; there are {known}")
        record = self._directory.get(recipient)
        if record and record.desired is Desired.STOPPED:
            return f"{recipient} is stopped; the message waits in its inbox until it is started"
        return ""

    def _cause(self, send: SendMessage) -> MessageView | None:
        """The message that this one answers or follows from, if the sender really received it."""
        for claimed in (send.in_reply_to, send.cause):
            found = self._messages.find(claimed, self._sender) if claimed else None
            if found:
                return found
        return None

    def _delivery(self, item: Accepted) -> Delivery:
        message = item.message
        envelope = self._envelope(MessageDelivered(message=message), item, f"{message.id}:delivered")
        return Delivery(message.recipient, message.id, envelope)

    def _answers(self, result: Accepted | Rejected) -> list[Append]:
        """To the sender, and to everyone who watches."""
        if isinstance(result, Rejected):
            refusal = self._refusal(result)
            return [Append(streams.control(self._sender), refusal), Append(streams.EVENTS, refusal)]
        fact = MessageAccepted(
            message_id=result.message.id, sender=self._sender, to=result.message.recipient, note=result.note
        )
        accepted = self._envelope(fact, result, f"{result.message.id}:accepted")
        delivered = self._delivery(result).envelope
        return [
            Append(streams.control(self._sender), accepted),
            Append(streams.EVENTS, accepted),
            Append(streams.EVENTS, delivered),
        ]

    def _refusal(self, result: Rejected) -> Envelope:
        code = type(result.error).code
        fact = MessageRefused(sender=self._sender, to=result.to[:100], code=code, reason=str(result.error))
        identity = f"{message_id(self._sender, result.key, result.to)}:refused"
        return Envelope.of(fact, source=SOURCE, id=identity, subject=self._sender, correlation_id=result.key)

    def _envelope(self, payload: Payload, item: Accepted, identity: str) -> Envelope:
        message = item.message
        return Envelope.of(
            payload,
            source=SOURCE,
            id=identity,
            subject=message.id,
            correlation_id=item.key,
            trace_id=message.trace_id,
            hop=message.hop,
        )

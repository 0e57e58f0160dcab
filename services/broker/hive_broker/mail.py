"""Messages from `system`: what the broker itself has to tell.

Delivered and recorded as any other; nobody can answer them.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_broker.directory import Directory
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, MessageDelivered, MessageState
from hive_contracts.names import SYSTEM
from hive_runtime.bus import Append, Batch, Bus, Delivery
from hive_runtime.records.messages import MessageWriter

SOURCE: Final = "broker"

log = structlog.get_logger()


def delivered(message: Message, *, correlation_id: str = "", again: str = "") -> Envelope:
    """The envelope for the inbox, and the fact. `again` makes it another one than that of the first delivery."""
    return Envelope.of(
        MessageDelivered(message=message),
        source=SOURCE,
        id=f"{message.id}:delivered{again and ':'}{again}"[:128],
        subject=message.id,
        correlation_id=correlation_id,
        trace_id=message.trace_id,
        hop=message.hop,
    )


def as_recorded(messages: MessageWriter, message: Message) -> Message:
    """What was recorded under an id stays what it was."""
    found = messages.find(message.id, message.recipient)
    return Message.model_validate(message.model_dump() | found.model_dump()) if found else message


class SystemMail:
    """`tell` may be repeated with the same key: one message comes of it."""

    def __init__(self, *, bus: Bus, messages: MessageWriter, directory: Directory) -> None:
        self._bus = bus
        self._messages = messages
        self._directory = directory

    async def tell(
        self, recipients: Iterable[str], body: str, *, key: str, about: Message | None = None
    ) -> list[Message]:
        """A message to each recipient that there is; `about` carries its conversation on. Raises `Unavailable`."""
        present = self._directory.principals()
        written = [self._write(name, body, key, about) for name in dict.fromkeys(recipients) if name in present]
        self._messages.accept(written)
        found = [as_recorded(self._messages, message) for message in written]
        await self._deliver([message for message in found if self._is_new(message)])
        return found

    def _is_new(self, message: Message) -> bool:
        """The inbox forgets a key after a while; the record does not."""
        recorded = self._messages.find(message.id, message.recipient)
        return recorded is None or recorded.state is MessageState.ACCEPTED

    async def _deliver(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        await self._bus.deliver([Delivery(item.recipient, item.id, delivered(item)) for item in messages])
        await self._bus.write(Batch([Append(streams.EVENTS, delivered(message)) for message in messages]))
        self._messages.delivered(messages, at=time.time_ns() // 1_000_000)

    def _write(self, recipient: str, body: str, key: str, about: Message | None) -> Message:
        new_id = message_id(SYSTEM, key, recipient)
        log.info("system message", message=new_id, to=recipient, key=key)
        return Message(
            id=new_id,
            sender=SYSTEM,
            recipient=recipient,
            body=body,
            sent_at=datetime.now(UTC),
            trace_id=about.trace_id if about else new_id,
            hop=about.hop + 1 if about else 0,
        )

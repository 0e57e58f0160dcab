"""Messages that the broker itself writes: into the inbox once, and told to everyone who watches, who also record it."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import Message, MessageDelivered
from hive_contracts.names import SYSTEM
from hive_runtime.bus import Append, Batch, Bus, Delivery

SOURCE: Final = "broker"
EXCERPT: Final = 300

Clock = Callable[[], int]
"""The time in milliseconds since 1970."""

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


class Mail:
    """Every method may be repeated: a message is delivered once per id. Raises `BusUnavailable`."""

    def __init__(self, bus: Bus, known: Known, directory: Directory) -> None:
        self._bus = bus
        self._known = known
        self._directory = directory

    async def deliver(self, message: Message) -> Append:
        """Returns what to tell those who watch."""
        await self._known.load([message.id])  # the inbox forgets its keys after a day, the record does not
        message = self._known.remember(message, delivered=False)
        envelope = delivered(message)
        if not self._known.is_delivered(message.id):
            await self._bus.deliver([Delivery(message.recipient, message.id, envelope)])
            self._known.remember(message, delivered=True)
        return Append(streams.EVENTS, envelope)

    async def tell(
        self,
        recipients: Iterable[str],
        body: str,
        *,
        key: str,
        about: Message | None = None,
        context_only: bool = False,
    ) -> list[str]:
        """Their ids: a message from `system` to each recipient that there is.

        `about` carries its conversation on; what is `context_only` wakes nobody.
        """
        present = self._directory.principals()
        named = [name for name in dict.fromkeys(recipients) if name in present]
        written = [_from_system(name, body, key, about, context_only=context_only) for name in named]
        await self.write([await self.deliver(message) for message in written])
        return [message.id for message in written]

    async def write(self, appends: list[Append]) -> None:
        await self._bus.write(Batch(appends))


def _from_system(recipient: str, body: str, key: str, about: Message | None, *, context_only: bool) -> Message:
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
        context_only=context_only,
    )


def excerpt(text: str, limit: int = EXCERPT) -> str:
    """`text` on one line, so that none of its lines can pass for one of ours."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

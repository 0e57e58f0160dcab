"""The operator's inbox: for it the dashboard is what a harness is for an agent's.

An entry stays pending until the operator has read the message. Reading tells the broker first (`message.acked` in the
operator's live stream) and acknowledges then; a crash between the two is made good when pending entries are read again,
even before the broker has recorded what it was told.
"""

import asyncio
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import NotFound, Refused
from hive_contracts.ids import new_id
from hive_contracts.messages import MessageAcked, MessageDelivered, MessageState
from hive_contracts.names import OPERATOR
from hive_dashboard.commands import SOURCE
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus, Entry
from hive_runtime.errors import LeaseLost
from hive_runtime.records.messages import MessageReader

TOLD_PAGE: Final = 1_000

log = structlog.get_logger()


class OperatorInbox:
    """Knows which inbox entry carries which unread message."""

    def __init__(self, bus: Bus, messages: MessageReader) -> None:
        self._bus = bus
        self._messages = messages
        self._lease = new_id()
        self._entries: dict[str, str] = {}

    async def take_lease(self) -> None:
        """Become the owner of the inbox; waits while Redis is away."""
        await persist(lambda: self._bus.hash_set(streams.state(OPERATOR), {streams.LEASE_FIELD: self._lease}))

    async def handle(self, entries: list[Entry]) -> None:
        """Remember what each entry carries; what is no message, or was read before, is acknowledged at once."""
        told = await self._told() if any(entry.redelivered for entry in entries) else set()
        done = []
        for entry in entries:
            message_id = _message_of(entry)
            if message_id is None or (entry.redelivered and (message_id in told or await self._was_read(message_id))):
                done.append(entry.id)
            else:
                self._entries[message_id] = entry.id
        if done:
            await self._ack(done)

    async def mark_read(self, message_id: str) -> None:
        """Idempotent. Raises `NotFound` for a message that the operator did not receive."""
        message = await asyncio.to_thread(self._messages.get, message_id)
        if message is None or message.recipient != OPERATOR:
            raise NotFound(f"there is no message {message_id} in the operator's inbox; `hive inbox` lists them")
        entry_id = self._entries.get(message_id)
        if entry_id is None:
            if message.state is MessageState.ACKED:
                return
            raise Refused("the message is still on its way to the inbox; try again in a moment")
        acked = MessageAcked(message_id=message_id, recipient=OPERATOR)
        envelope = Envelope.of(acked, source=SOURCE, id=f"{message_id}:read", subject=message_id)
        await self._bus.append(streams.live(OPERATOR), envelope)
        await self._ack([entry_id])
        self._entries.pop(message_id, None)

    async def _told(self) -> set[str]:
        """Messages that an earlier dashboard told the broker of as read, whether the broker has recorded it or not.

        Ask before the store: an entry goes from the stream only once it is recorded.
        """
        reader = self._bus.reader()
        found: set[str] = set()
        cursor = "0-0"
        try:
            while entries := await reader.read_after({streams.live(OPERATOR): cursor}, count=TOLD_PAGE, block_ms=0):
                cursor = entries[-1].id
                found.update(filter(None, map(_read_message, entries)))
        finally:
            await reader.aclose()
        return found

    async def _was_read(self, message_id: str) -> bool:
        message = await asyncio.to_thread(self._messages.get, message_id)
        return message is not None and message.state is MessageState.ACKED

    async def _ack(self, ids: list[str]) -> None:
        """There is one operator: a lease that was lost (another dashboard, an emptied server) is taken again."""
        try:
            await self._bus.ack_leased(OPERATOR, self._lease, ids)
        except LeaseLost:
            await self.take_lease()
            await self._bus.ack_leased(OPERATOR, self._lease, ids)


def _read_message(entry: Entry) -> str | None:
    try:
        envelope = Envelope.decode(entry.fields)
        return envelope.payload(MessageAcked).message_id if envelope.type == MessageAcked.TYPE else None
    except MalformedEnvelope:
        return None


def _message_of(entry: Entry) -> str | None:
    try:
        return Envelope.decode(entry.fields).payload(MessageDelivered).message.id
    except MalformedEnvelope as error:
        log.warning("inbox entry is malformed", entry=entry.id, reason=str(error)[:200])
        return None

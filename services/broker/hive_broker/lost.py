"""Messages whose inbox entries are gone though nobody handled them: a server lost its data, somebody deleted a key.

The record has them, so they are delivered again. Who is slow to record is not to be mistaken for a loss: what an agent
acknowledged it told before, so its live stream is read to its end first; only what is missing at two looks is lost; and
the second waits until all that was told at the first is on record, which may be being made again. A harness that still
has such a message in hand takes the second copy for what it is.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from hive_broker.directory import Directory
from hive_broker.mail import delivered
from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.ids import new_id
from hive_contracts.messages import Message, MessageDelivered
from hive_runtime.backoff import persist
from hive_runtime.bus import Append, Batch, Bus, Delivery, Entry, Reader, position
from hive_runtime.records.dead import DeadLetterWriter

PAGE: Final = 200
REASON: Final = "delivered again: it had gone from the inbox"

log = structlog.get_logger()


class Lost:
    """`run` looks until cancelled. `recorded`: up to which entry of `hive:events` all is on record. `clock` gives
    milliseconds since 1970."""

    def __init__(
        self,
        bus: Bus,
        writer: DeadLetterWriter,
        directory: Directory,
        *,
        recorded: Callable[[], str],
        look_s: float = 60,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._bus = bus
        self._writer = writer
        self._directory = directory
        self._recorded = recorded
        self._look_s = look_s
        self._clock = clock
        self._told = "0-0"
        self._missed: frozenset[str] = frozenset()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            await persist(self.look)

    async def look(self) -> None:
        """Deliver again what is missing now and was at the last look. Raises `Unavailable`; then it was no look."""
        if position(self._recorded()) < position(self._told):
            return
        told, missing = await self._bus.last_id(streams.EVENTS), set[str]()
        async with aclosing(self._bus.reader()) as reader:
            for name in sorted(self._writer.waited_for() & self._directory.principals()):
                found = await self._missing(name, reader)
                missing.update(found)
                await self._deliver(name, [one for one in found if one in self._missed])
        self._told, self._missed = told, frozenset(missing)

    async def _missing(self, name: str, reader: Reader) -> list[str]:
        """Oldest first; also what only just came or was handled, so one look proves nothing."""
        waiting = self._writer.waiting(name, before=self._clock())
        if len(waiting) <= await self._bus.depth(streams.inbox(name)):
            return []
        there = await _in_inbox(name, reader)
        if not await self._bus.is_read(streams.live(name), streams.GROUP_RECORDER):
            return []
        return [one for one in self._writer.waiting(name, before=self._clock()) if one not in there]

    async def _deliver(self, name: str, ids: Sequence[str]) -> None:
        if ids:
            await self._directory.refresh()  # nothing is to come back of who was purged just now
        for message_id in ids if name in self._directory.principals() else ():
            await self._deliver_again(message_id)

    async def _deliver_again(self, message_id: str) -> None:
        key = f"lost-{new_id()}"
        if not await asyncio.to_thread(self._writer.delivered_again, message_id, key, at=self._clock(), reason=REASON):
            return
        message = Message.model_validate(self._writer.find(message_id).model_dump())
        envelope = delivered(message, again=key)
        await self._bus.deliver([Delivery(message.recipient, f"{message_id}:{key}", envelope)])
        await self._bus.write(Batch([Append(streams.EVENTS, envelope)]))
        log.warning("message delivered again", message=message_id, recipient=message.recipient, reason=REASON)


def _message_of(entry: Entry) -> str | None:
    try:
        return Envelope.decode(entry.fields).payload(MessageDelivered).message.id
    except MalformedEnvelope:
        return None


async def _in_inbox(name: str, reader: Reader) -> set[str]:
    """The messages whose entries are there."""
    stream, cursor, found = streams.inbox(name), "0-0", set[str]()
    while entries := await reader.read_after({stream: cursor}, count=PAGE, block_ms=0):
        cursor = entries[-1].id
        found.update(message_id for entry in entries if (message_id := _message_of(entry)))
    return found

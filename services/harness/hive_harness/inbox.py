"""The inbox: claim the message that begins a turn, drain more into it, acknowledge them together under the lease."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.messages import MessageDelivered
from hive_harness.turn import CurrentTurn, Received, Turn
from hive_runtime.backoff import persist
from hive_runtime.bus import BLOCK_MS, Bus, Entry
from hive_runtime.consumer import Consumer

AWAY_MARGIN_S: Final = 5.0

log = structlog.get_logger()


class Inbox:
    """One reader at a time. Entries that are no messages are acknowledged, logged and noted; they begin no turn."""

    def __init__(self, bus: Bus, agent: str, lease: str, current: CurrentTurn) -> None:
        self._bus = bus
        self._current = current
        self._agent = agent
        self._lease = lease
        stream = streams.inbox(agent)
        self._consumer = Consumer(bus, stream, streams.GROUP_HARNESS, agent, count=1, may_create=False)
        self._one_reader = asyncio.Lock()
        self._context: list[Received] = []

    async def claim(self, *, wait_s: float) -> Received | None:
        """The next message that wakes, own unacknowledged ones first; None after about `wait_s` seconds.

        Those that do not wake are kept on the way, for `take_context`.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        while (left_s := deadline - asyncio.get_running_loop().time()) > 0 or wait_s == 0:
            async with self._one_reader:
                entries = await self._consumer.read(count=1, block_ms=_milliseconds(left_s))
                received = await self._messages(entries)
            if not entries or (received and not received[0].message.context_only):
                return received[0] if received else None
            self._context += received
        return None

    def take_context(self) -> list[Received]:
        """What came before the claimed message without waking anyone; the turn takes it up too."""
        context, self._context = self._context, []
        return context

    async def drain(self, turn: Turn, *, wait_s: float, most: int) -> list[Received]:
        """Take further messages up into `turn`: those that are there, else the first to come within `wait_s`.

        Empty when the turn ended meanwhile, or Redis is away.
        """
        try:
            async with asyncio.timeout(wait_s + AWAY_MARGIN_S) as wait:
                turn.waits.add(wait)
                async with self._one_reader:
                    return await self._drain(turn, wait_s, most)
        except TimeoutError:
            return []
        finally:
            turn.waits.discard(wait)

    async def ack(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and delete, however often it takes. Raises `LeaseLost`."""
        await persist(lambda: self._bus.ack_leased(self._agent, self._lease, entry_ids))
        self._consumer.settle(list(entry_ids))

    def put_back(self) -> None:
        """What was claimed and not acknowledged is claimed again, oldest first, marked redelivered."""
        self._context.clear()
        self._consumer.rewind()

    async def aclose(self) -> None:
        await self._consumer.aclose()

    async def _drain(self, turn: Turn, wait_s: float, most: int) -> list[Received]:
        deadline = asyncio.get_running_loop().time() + wait_s
        received: list[Received] = []
        while not received and not turn.over:
            left_s = max(0.0, deadline - asyncio.get_running_loop().time())
            entries = await self._consumer.read(count=most, block_ms=_milliseconds(left_s))
            if turn.over:
                self._consumer.rewind()
                return []
            received = await self._messages(entries)
            if not entries and left_s == 0:
                break
        turn.join(received)
        return received

    async def _messages(self, entries: Sequence[Entry]) -> list[Received]:
        received = []
        for entry in entries:
            try:
                received.append(_decode(entry))
            except MalformedEnvelope as error:
                await self._discard(entry, str(error))
        return received

    async def _discard(self, entry: Entry, reason: str) -> None:
        log.warning("inbox entry discarded", entry=entry.id, reason=reason[:200])
        self._current.note(f"an inbox entry was no message and was discarded ({entry.id}): {reason[:200]}")
        await self.ack([entry.id])


def _decode(entry: Entry) -> Received:
    """Raises `MalformedEnvelope`."""
    if not entry.fields:
        raise MalformedEnvelope("it was trimmed before it was acknowledged; the message is lost")
    envelope = Envelope.decode(entry.fields)
    if envelope.type != MessageDelivered.TYPE:
        raise MalformedEnvelope(f"unknown type {envelope.type[:64]!r}")
    return Received(entry.id, envelope.payload(MessageDelivered).message, entry.redelivered)


def _milliseconds(seconds: float) -> int:
    return min(BLOCK_MS, max(0, round(seconds * 1000)))

"""The inbox: wait for the message that begins a turn, drain more into it, acknowledge them together under the lease.

A server that was killed may have lost an acknowledgement that it had confirmed: a message whose turn ended well in this
harness's life is told and acknowledged again when it comes again, and not run again.

Entries are read one at a time and as they are needed, so that what waits in Redis is what nobody has in hand. Only when
the broker says that an urgent message came, all that waits is read, to find it.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import Unavailable
from hive_contracts.messages import MessageDelivered
from hive_harness.journal import EndedTurn
from hive_harness.live import LivePublisher
from hive_harness.turn import CurrentTurn, Received, Turn
from hive_runtime.backoff import persist
from hive_runtime.bus import BLOCK_MS, Bus, Entry
from hive_runtime.consumer import Consumer

AWAY_MARGIN_S: Final = 5.0
READ_AHEAD: Final = 100
MAX_IN_HAND: Final = 1_000
MAX_DONE: Final = 1_000

log = structlog.get_logger()


class Inbox:
    """One reader at a time. Entries that are no messages are acknowledged, logged and noted; they begin no turn."""

    def __init__(self, bus: Bus, agent: str, lease: str, current: CurrentTurn, live: LivePublisher) -> None:
        self._bus = bus
        self._current = current
        self._live = live
        self._done: OrderedDict[str, Envelope] = OrderedDict()
        self._agent = agent
        self._lease = lease
        stream = streams.inbox(agent)
        self._consumer = Consumer(bus, stream, streams.GROUP_HARNESS, agent, count=1, may_create=False)
        self._one_reader = asyncio.Lock()
        self._in_hand: deque[Received] = deque()
        self._untouched: set[str] = set()
        self._urgent = False

    async def wait(self, *, wait_s: float) -> bool:
        """Whether there is a message that wakes, own unacknowledged ones first; False after about `wait_s` seconds."""
        deadline = _now() + wait_s
        if self._urgent:
            await self.find_urgent()
        while not self._waking():
            left_s = deadline - _now()
            if left_s <= 0 and wait_s > 0:
                return False
            async with self._one_reader:
                if not await self._read(count=1, wait_s=left_s) and left_s <= 0:
                    return False
        return True

    def take(self) -> tuple[Received, list[Received]] | None:
        """The message to begin a turn with, an urgent one first, and what came before it without waking anyone."""
        if (head := self._next()) is None:
            return None
        context = []
        for received in list(self._in_hand):
            if received is head:
                break
            if received.message.context_only:
                context.append(received)
        for received in (head, *context):
            self._begin(received)
        return head, context

    async def find_urgent(self) -> bool:
        """Read all that waits; whether an urgent message is among it, which is then the next to be taken."""
        async with self._one_reader:
            while len(self._in_hand) < MAX_IN_HAND and await self._read(count=READ_AHEAD, wait_s=0):
                pass
        self._urgent = any(received.message.urgent for received in self._in_hand)
        return self._urgent

    async def beat(self, every_s: float) -> None:
        """Until cancelled: say that what this harness has in hand is worked on, or waits for it."""
        stream, group = streams.inbox(self._agent), streams.GROUP_HARNESS
        heard = True
        while True:
            await asyncio.sleep(every_s)
            try:
                await self._bus.touch(stream, group, self._agent, self._consumer.in_hand())
                heard = True
            except Unavailable as error:
                if heard:
                    log.info("no heartbeat", reason=str(error))
                heard = False

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

    async def finish(self, ended: EndedTurn) -> None:
        """Acknowledge what the turn handled, and remember its messages. Raises `LeaseLost`."""
        await self.ack(ended.entry_ids)
        for message_id in ended.event.data.get("messages", ()):
            self._done[message_id] = ended.event
        while len(self._done) > MAX_DONE:
            self._done.popitem(last=False)

    async def ack(self, entry_ids: Sequence[str]) -> None:
        """Acknowledge and delete, however often it takes. Raises `LeaseLost`."""
        await persist(lambda: self._bus.ack_leased(self._agent, self._lease, entry_ids))
        self._consumer.settle(list(entry_ids))
        self._untouched.difference_update(entry_ids)
        done = set(entry_ids)
        self._in_hand = deque(received for received in self._in_hand if received.entry_id not in done)

    def put_back(self) -> None:
        """What was claimed and not acknowledged is claimed again, oldest first, marked redelivered."""
        self._in_hand.clear()
        self._consumer.rewind()

    async def aclose(self) -> None:
        await self._consumer.aclose()

    async def _drain(self, turn: Turn, wait_s: float, most: int) -> list[Received]:
        deadline = _now() + wait_s
        while not self._in_hand and not turn.over:
            left_s = max(0.0, deadline - _now())
            if not await self._read(count=most, wait_s=left_s) and left_s == 0:
                break
        if turn.over:
            self.put_back()
            return []
        received = [self._in_hand[index] for index in range(min(most, len(self._in_hand)))]
        for item in received:
            self._begin(item)
        turn.join(received)
        return received

    async def _read(self, *, count: int, wait_s: float) -> bool:
        """Take entries in hand; False when none came in time."""
        entries = await self._consumer.read(count=count, block_ms=_milliseconds(wait_s))
        self._untouched.update(entry.id for entry in entries if not entry.redelivered)
        received = await self._messages(entries)  # which may acknowledge, and replace what is in hand
        self._in_hand.extend(received)
        return bool(entries)

    def _waking(self) -> list[Received]:
        return [received for received in self._in_hand if not received.message.context_only]

    def _next(self) -> Received | None:
        waking = self._waking()
        return next((received for received in waking if received.message.urgent), waking[0] if waking else None)

    def _begin(self, received: Received) -> None:
        """A turn takes it up."""
        self._in_hand.remove(received)
        self._untouched.discard(received.entry_id)

    async def _messages(self, entries: Sequence[Entry]) -> list[Received]:
        received: list[Received] = []
        for entry in entries:
            try:
                item = _decode(entry)
                if event := self._done.get(item.message.id):
                    log.info("done already, acknowledged again", message=item.message.id)
                    self._live.publish_envelope(event)
                    await self.ack([entry.id])
                    continue
                if self._has_copy(item, received):
                    log.warning("message came twice, one copy acknowledged", message=item.message.id)
                    await self.ack([entry.id])
                    continue
                received.append(replace(item, redelivered=entry.redelivered and entry.id not in self._untouched))
            except MalformedEnvelope as error:
                await self._discard(entry, str(error))
        return received

    def _has_copy(self, item: Received, read: Sequence[Received]) -> bool:
        """Whether another entry with this message is in hand, or in the turn that runs: the broker missed it there."""
        turn = self._current.turn
        held = (*read, *self._in_hand, *(turn.received if turn else ()))
        return any(one.message.id == item.message.id and one.entry_id != item.entry_id for one in held)

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


def _now() -> float:
    return asyncio.get_running_loop().time()


def _milliseconds(seconds: float) -> int:
    return min(BLOCK_MS, max(0, round(seconds * 1000)))

"""From `hive:events` to `broker.sqlite`: the record of messages follows from what the broker told.

So a store that is locked, full or broken holds up no message: delivery goes on, the stream keeps what is not recorded
(retention leaves it, too), and the record catches up. A store that was broken is made anew from what the stream holds.
Every step may be repeated.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from hive_broker.dead_letters import DeadLetters
from hive_broker.mail import SOURCE
from hive_broker.recorder import fact, judge
from hive_broker.thread_facts import facts_after
from hive_contracts import streams
from hive_contracts.agents import AgentPurged
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import Unavailable
from hive_contracts.messages import (
    Message,
    MessageAcked,
    MessageDead,
    MessageDelivered,
    MessageFailed,
    MessageInTurn,
    MessageState,
)
from hive_runtime.backoff import Backoff
from hive_runtime.bus import BLOCK_MS, Ack, Append, Batch, Bus, Entry
from hive_runtime.consumer import Consumer
from hive_runtime.errors import StoreUnavailable
from hive_runtime.records.messages import MessageWriter, Told, milliseconds
from hive_runtime.records.threads import ThreadWriter

_KINDS: Final = frozenset(
    kind.TYPE for kind in (MessageDelivered, MessageInTurn, MessageAcked, MessageFailed, MessageDead)
)

LINGER_S: Final = 0.02
"""Pause after each batch, so that the next one is larger: a commit costs the same for one and for a hundred."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message reached its inbox, at a time in milliseconds."""

    message: Message
    at: int


@dataclass(frozen=True, slots=True)
class Purged:
    """An agent is gone since that time, in milliseconds; one made later may have its name."""

    agent: str
    at: int


async def _nothing(_: str) -> None:
    return


class Record:
    """`run` records until cancelled. `warning` says why the record lags behind, or nothing.

    `purged` is called with the name of each agent that is gone, before that is acknowledged; it may be called again.
    """

    def __init__(
        self,
        bus: Bus,
        messages: MessageWriter,
        dead: DeadLetters,
        *,
        purged: Callable[[str], Awaitable[None]] = _nothing,
    ) -> None:
        self._bus = bus
        self._messages = messages
        self._dead = dead
        self._threads = ThreadWriter(messages.store)
        self._purged = purged
        self._generation = 0
        self.warning = ""
        self.caught_up = asyncio.Event()
        """Set once everything told so far is on record, or cannot be recorded now."""

    async def run(self, consumer: Consumer) -> None:
        backoff = Backoff(first_s=0.05, limit_s=5.0)
        try:
            await self._align()
        except Unavailable as error:
            self._put_back(error, 0)
        while True:
            entries = await consumer.read(block_ms=BLOCK_MS if self.caught_up.is_set() else 0)
            if not entries:
                self.caught_up.set()
                continue
            try:
                await self.handle(entries)
            except Unavailable as error:
                self._put_back(error, len(entries))
                consumer.rewind()
                await backoff.wait()
                continue
            backoff.reset()
            consumer.settle([entry.id for entry in entries])
            await asyncio.sleep(LINGER_S if self.caught_up.is_set() else 0)

    async def handle(self, entries: list[Entry]) -> None:
        """Record, tell of steps that came before their message, acknowledge. Raises `Unavailable`."""
        if self._messages.store.generation != self._generation and await self._align():
            return  # they come again, in order
        facts = [(entry, item) for entry in entries if (item := _read(entry))]
        told = await asyncio.to_thread(self._record, facts, entries[-1].id)
        if self.warning:
            log.info("record goes on")
        self.warning = ""
        for _, item in facts:
            if isinstance(item, Purged):
                await self._purged(item.agent)
        appends = [Append(streams.EVENTS, fact(step.recipient, step.message_id, step)) for step in told]
        ack = Ack(streams.EVENTS, streams.GROUP_RECORD, [entry.id for entry in entries])
        await self._bus.write(Batch(appends, [ack]))
        self._dead.wake()

    async def _align(self) -> bool:
        """Read again what the stream holds and a store that is another one now does not; False when they agree."""
        generation = self._messages.store.generation
        position = await asyncio.to_thread(self._messages.position)
        await self._bring_threads_back(position)
        behind = await self._bus.rewind(streams.EVENTS, streams.GROUP_RECORD, to=position)
        if behind:
            log.warning("record was behind its stream, read again", position=position)
        self._generation = generation
        return behind

    async def _bring_threads_back(self, after: str) -> None:
        """All at once, so that no reminder that was delivered seems to be due in between."""
        facts = await facts_after(self._bus, after)
        if facts.questions or facts.reminders:
            await asyncio.to_thread(self._threads.bring_back, facts.questions.values(), facts.reminders.values())

    def _record(self, facts: Sequence[tuple[Entry, Delivered | Told | Purged]], position: str) -> list[Told]:
        """What is to be told. An entry that comes again tells all: a crash may have come before the telling."""
        delivered = [(entry, item) for entry, item in facts if isinstance(item, Delivered)]
        retold = [item for _, item in facts if isinstance(item, Told)]
        taken = self._messages.record(
            [(item.message, item.at) for _, item in delivered], retold=retold, position=position
        )
        for step in taken:
            judge(self._dead, step.recipient, step.message_id, step)
        for _, item in facts:
            if isinstance(item, Purged):
                self._dead.purged(item.agent, before=item.at)
                self._threads.purge(item.agent, before=item.at)
        again = {item.message.id for entry, item in delivered if entry.redelivered}
        return [step for step in taken if step.message_id not in again] + self._messages.told(sorted(again))

    def _put_back(self, error: Unavailable, entries: int) -> None:
        log.warning("record lags behind", code=error.code, reason=str(error), entries=entries)
        if isinstance(error, StoreUnavailable):
            self.warning = f"Messages are delivered but not recorded: {error}. The record will catch up."
            self.caught_up.set()


def _read(entry: Entry) -> Delivered | Told | Purged | None:
    """What an event of the broker says of a message, or that an agent is gone; None for any other event."""
    kind = entry.fields.get("type", "")
    if kind != AgentPurged.TYPE and (entry.fields.get("source") != SOURCE or kind not in _KINDS):
        return None
    try:
        envelope = Envelope.decode(entry.fields)
        if kind == AgentPurged.TYPE:
            return Purged(envelope.payload(AgentPurged).agent, milliseconds(envelope.time))
        if kind == MessageDelivered.TYPE:
            return Delivered(envelope.payload(MessageDelivered).message, milliseconds(envelope.time))
        return _told(envelope)
    except MalformedEnvelope as error:
        log.warning("event is malformed", entry=entry.id, reason=str(error)[:200])
        return None


def _told(envelope: Envelope) -> Told:
    """A step as it was told when it was recorded. Of a record that was not lost it is known already."""
    at = milliseconds(envelope.time)
    match envelope.type:
        case MessageInTurn.TYPE:
            begun = envelope.payload(MessageInTurn)
            return Told(begun.message_id, begun.recipient, at, MessageState.IN_TURN, begun.turn_id, "", begun.tries)
        case MessageAcked.TYPE:
            acked = envelope.payload(MessageAcked)
            return Told(acked.message_id, acked.recipient, at, MessageState.ACKED, acked.turn_id, "", 0)
        case MessageFailed.TYPE:
            failed = envelope.payload(MessageFailed)
            how = (MessageState.FAILED, failed.turn_id, failed.reason, failed.tries)
            return Told(failed.message_id, failed.recipient, at, *how)
        case _:
            dead = envelope.payload(MessageDead)
            redrives = max(0, sum(step.state is dead.state for step in dead.history) - 1)
            mark = f"{dead.state}-{redrives}"  # as `DeadLetterWriter.give_up` marks it
            return Told(dead.message.id, dead.message.recipient, at, dead.state, mark, dead.reason, 0)

"""From a live stream to the stores: an agent's events, and what they say of its messages.

The harness is the authority on its turns, but only on its own messages: a step that names another's message is
ignored by the store. A step may come before its message is on record; then `Record` tells of it. Every step may be
repeated. Stores are written in threads: one that is locked or slow holds up nothing else.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from hive_broker.dead_letters import DeadLetters
from hive_broker.mail import SOURCE
from hive_broker.notify import login_needed
from hive_contracts import streams
from hive_contracts.agents import AgentLoggedIn, TurnOutcome
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.messages import Message, MessageAcked, MessageFailed, MessageInTurn, MessageState
from hive_contracts.names import OPERATOR, SYSTEM
from hive_contracts.outcomes import CONSEQUENCES, is_done
from hive_contracts.turns import TurnEnded, TurnJoined, TurnStarted
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry
from hive_runtime.records.events import EventWriter, entry_time
from hive_runtime.records.messages import MessageWriter, Told
from hive_runtime.store_watch import replaced_fact

MAX_MESSAGES: Final = 1_000
"""How many message ids of one event are looked at; a turn takes up far fewer."""

_BROUGHT_BACK: Final = "the events that the live stream still holds"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """What a live event says of messages. `tries`: by how much it changes those that count against the first."""

    state: MessageState
    messages: Sequence[str]
    turn_id: str
    reason: str = ""
    tries: int = 0
    cancelled: bool = False

    @property
    def head(self) -> str:
        """The message that the turn began with: what goes wrong counts against it, not against those that joined."""
        return self.messages[0] if self.messages else ""


class Recorder:
    """Handles the live stream of one principal. `events` is None for the operator, who has no turns."""

    def __init__(
        self, name: str, *, bus: Bus, messages: MessageWriter, events: EventWriter | None, dead: DeadLetters
    ) -> None:
        self._name = name
        self._bus = bus
        self._messages = messages
        self._events = events
        self._dead = dead
        self._generation = events.store.generation if events else 0
        self._told_of: Path | None = None
        self._rested = False
        self._login_hour = 0

    async def align(self) -> bool:
        """Read again what the stream holds and the store of events does not; False when they agree.

        For the start; `handle` does it when the store was replaced. Raises `Unavailable`.
        """
        if self._events is None:
            return False
        generation, stream = self._events.store.generation, streams.live(self._name)
        position = await asyncio.to_thread(self._events.position)
        behind = await self._bus.rewind(stream, streams.GROUP_RECORDER, to=position)
        if behind and not self._rested:  # else what woke it was given out before the store was open
            log.warning("store of events was behind its stream, read again", agent=self._name)
        self._rested = False
        kept = self._events.store.replaced
        if kept and kept != self._told_of:
            told = replaced_fact(kept, source=SOURCE, brought_back=_BROUGHT_BACK, folder=f"agents/{self._name}/")
            await self._bus.append(streams.EVENTS, told)
            self._told_of = kept
        self._generation = generation
        return behind

    async def begin(self) -> None:
        """`align`, and then `rest`: of many agents most are silent when their broker starts. Raises `Unavailable`."""
        await self.align()
        await self.rest()

    async def rest(self) -> None:
        """The store of events is closed until something comes."""
        if self._events:
            await asyncio.to_thread(self._events.store.rest)
            self._rested = True

    async def handle(self, entries: list[Entry]) -> None:
        """Record each entry, tell what is news, acknowledge. Raises `Unavailable`; then nothing is acknowledged."""
        if self._events and self._events.store.generation != self._generation and await self.align():
            return  # they come again, in order
        decoded = [(entry, envelope) for entry in entries if (envelope := self._decode(entry))]
        appends = await asyncio.to_thread(self._record, decoded, entries[-1].id)
        await self._tell_senders([envelope for _, envelope in decoded])
        hour = int(time.time() // 3600)
        logins = [] if hour == self._login_hour else login_needed(self._name, [it for _, it in decoded], hour=hour)
        acks = [Ack(streams.live(self._name), streams.GROUP_RECORDER, [entry.id for entry in entries])]
        await self._bus.write(Batch([*appends, *logins], acks))
        self._login_hour = hour if logins else self._login_hour
        self._dead.wake()

    def _record(self, decoded: Sequence[tuple[Entry, Envelope]], position: str) -> list[Append]:
        if self._events:
            self._events.record([(entry.id, envelope) for entry, envelope in decoded], position=position)
        login = [Append(streams.EVENTS, fact) for _, envelope in decoded if (fact := login_fact(self._name, envelope))]
        return login + [append for entry, envelope in decoded for append in self._advance(entry, envelope)]

    async def _tell_senders(self, envelopes: Sequence[Envelope]) -> None:
        """An agent whose message the operator cancelled would wait in vain. Each is told once."""
        steps = [step for envelope in envelopes if (step := _step_or_none(envelope)) and step.cancelled]
        for message_id in [message_id for step in steps for message_id in step.messages[:MAX_MESSAGES]]:
            message = await asyncio.to_thread(self._messages.find, message_id, self._name)
            if message and message.sender not in {OPERATOR, SYSTEM}:
                body = f"The operator cancelled the turn of {self._name} that was about your message {message_id}."
                about = Message.model_validate(message.model_dump())
                await self._dead.mail.tell([message.sender], body, key=f"{message_id}:cancelled", about=about)

    def _decode(self, entry: Entry) -> Envelope | None:
        try:
            return Envelope.decode(entry.fields)
        except MalformedEnvelope as error:
            log.warning("live entry is malformed", agent=self._name, entry=entry.id, reason=str(error)[:200])
            return None

    def _advance(self, entry: Entry, envelope: Envelope) -> list[Append]:
        """Move the messages that the event speaks of; what to tell.

        A redelivered entry tells again, since a crash may have come before the telling: facts have ids.
        """
        try:
            step = step_of(envelope)
        except MalformedEnvelope as error:
            log.warning("live event is malformed", agent=self._name, type=envelope.type, reason=str(error)[:200])
            return []
        if step is None:
            return []
        ids = list(step.messages)[:MAX_MESSAGES]
        news = self._messages.advance(
            self._name,
            ids,
            step.state,
            at=entry_time(entry.id),
            turn_id=step.turn_id,
            reason=step.reason,
            tries={step.head: step.tries},
        )
        if step.head:
            judge(self._dead, self._name, step.head, step)
        told = self._messages.having(self._name, ids, step.state, turn_id=step.turn_id) if entry.redelivered else news
        return [Append(streams.EVENTS, fact(self._name, message_id, step)) for message_id in told]


def judge(dead: DeadLetters, recipient: str, message_id: str, step: Step | Told) -> None:
    """Whether the message that a turn began with is given up. May be repeated: the dead letters know what is done."""
    if step.state is MessageState.IN_TURN and step.tries > 0:
        dead.taken_up(recipient, message_id)
    elif step.state is MessageState.FAILED and step.tries == 0:
        dead.failed(recipient, message_id, step.reason)


def fact(recipient: str, message_id: str, step: Step | Told) -> Envelope:
    """What is told of a step."""
    identity = f"{message_id}:{step.state}:{step.turn_id}"[:128]
    return Envelope.of(_payload(recipient, message_id, step), source=SOURCE, id=identity, subject=message_id)


def _payload(recipient: str, message_id: str, step: Step | Told) -> Payload:
    counted = isinstance(step, Told) or message_id == step.head
    tries = step.tries if counted else 0
    match step.state:
        case MessageState.IN_TURN:
            return MessageInTurn(message_id=message_id, recipient=recipient, turn_id=step.turn_id, tries=tries)
        case MessageState.ACKED:
            return MessageAcked(message_id=message_id, recipient=recipient, turn_id=step.turn_id)
        case _:
            return MessageFailed(
                message_id=message_id, recipient=recipient, turn_id=step.turn_id, reason=step.reason, tries=tries
            )


def login_fact(agent: str, envelope: Envelope) -> Envelope | None:
    """For all: that the engine of `agent`, whatever name it gives, was signed in; None for anything else."""
    if envelope.type != AgentLoggedIn.TYPE:
        return None
    return Envelope.of(AgentLoggedIn(agent=agent), source=SOURCE, id=f"{envelope.id[:100]}:told", subject=agent)


def step_of(envelope: Envelope) -> Step | None:
    """What a live event says of messages; None for nothing. Raises `MalformedEnvelope`."""
    match envelope.type:
        case TurnStarted.TYPE:
            started = envelope.payload(TurnStarted)
            return Step(MessageState.IN_TURN, started.messages, started.turn_id, tries=1)
        case TurnJoined.TYPE:
            joined = envelope.payload(TurnJoined)
            return Step(MessageState.IN_TURN, joined.messages, joined.turn_id)
        case TurnEnded.TYPE:
            ended = envelope.payload(TurnEnded)
            return Step(
                MessageState.ACKED if is_done(ended.outcome) else MessageState.FAILED,
                ended.messages,
                ended.turn_id,
                "" if ended.outcome is TurnOutcome.OK else f"{ended.outcome}: {ended.reason}".removesuffix(": ")[:500],
                tries=0 if is_done(ended.outcome) or CONSEQUENCES[ended.outcome].counts else -1,
                cancelled=ended.outcome is TurnOutcome.CANCELLED,
            )
        case MessageAcked.TYPE:
            return Step(MessageState.ACKED, [envelope.payload(MessageAcked).message_id], "")
        case _:
            return None


def _step_or_none(envelope: Envelope) -> Step | None:
    try:
        return step_of(envelope)
    except MalformedEnvelope:
        return None  # said when it was recorded

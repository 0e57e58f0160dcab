"""From a live stream to the stores: an agent's events, and what they say of its messages.

The harness is the authority on its turns, but only on its own messages: a step that names another's message is
ignored by the store. Every step may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from hive_broker.dead_letters import DeadLetters
from hive_broker.mail import SOURCE
from hive_contracts import streams
from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope, MalformedEnvelope, Payload
from hive_contracts.messages import MessageAcked, MessageFailed, MessageInTurn, MessageState
from hive_contracts.turns import TurnEnded, TurnJoined, TurnStarted
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry
from hive_runtime.records.events import EventWriter, entry_time
from hive_runtime.records.messages import MessageWriter

MAX_MESSAGES: Final = 1_000
"""How many message ids of one event are looked at; a turn takes up far fewer."""

EXCUSED: Final = frozenset({TurnOutcome.RATE_LIMITED, TurnOutcome.AUTH, TurnOutcome.CANCELLED})
"""Endings that no message is to blame for."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """What a live event says of messages. `tries`: by how much it changes those that count against the first."""

    state: MessageState
    messages: Sequence[str]
    turn_id: str
    reason: str = ""
    tries: int = 0

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

    async def handle(self, entries: list[Entry]) -> None:
        """Record each entry, tell what is news, acknowledge. Raises `Unavailable`; then nothing is acknowledged."""
        decoded = [(entry, envelope) for entry in entries if (envelope := self._decode(entry))]
        if self._events:
            self._events.record([(entry.id, envelope) for entry, envelope in decoded])
        appends = [append for entry, envelope in decoded for append in self._advance(entry, envelope)]
        acks = [Ack(streams.live(self._name), streams.GROUP_RECORDER, [entry.id for entry in entries])]
        await self._bus.write(Batch(appends, acks))

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
        self._judge(step)
        told = self._messages.having(self._name, ids, step.state, turn_id=step.turn_id) if entry.redelivered else news
        return [Append(streams.EVENTS, self._fact(message_id, step)) for message_id in told]

    def _judge(self, step: Step) -> None:
        """Also of a redelivered entry: the dead letters know what is done."""
        if step.state is MessageState.IN_TURN and step.tries > 0:
            self._dead.taken_up(self._name, step.head)
        elif step.state is MessageState.FAILED and step.tries == 0:
            self._dead.failed(self._name, step.head, step.reason)

    def _fact(self, message_id: str, step: Step) -> Envelope:
        identity = f"{message_id}:{step.state}:{step.turn_id}"[:128]
        return Envelope.of(self._payload(message_id, step), source=SOURCE, id=identity, subject=message_id)

    def _payload(self, message_id: str, step: Step) -> Payload:
        match step.state:
            case MessageState.IN_TURN:
                return MessageInTurn(message_id=message_id, recipient=self._name, turn_id=step.turn_id)
            case MessageState.ACKED:
                return MessageAcked(message_id=message_id, recipient=self._name, turn_id=step.turn_id)
            case _:
                return MessageFailed(
                    message_id=message_id, recipient=self._name, turn_id=step.turn_id, reason=step.reason
                )


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
            done = ended.outcome is TurnOutcome.OK
            state = MessageState.ACKED if done else MessageState.FAILED
            reason = "" if done else f"{ended.outcome}: {ended.reason}".removesuffix(": ")
            return Step(state, ended.messages, ended.turn_id, reason[:500], tries=-1 if ended.outcome in EXCUSED else 0)
        case MessageAcked.TYPE:
            return Step(MessageState.ACKED, [envelope.payload(MessageAcked).message_id], "")
        case _:
            return None

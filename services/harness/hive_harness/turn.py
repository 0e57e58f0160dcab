"""One turn: which messages it took up, its live events in order, and the keys of what it sends."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import new_id
from hive_contracts.messages import Message
from hive_contracts.turns import TurnEnded, TurnEvent, TurnJoined, TurnNote, TurnToolCall, Usage
from hive_harness.live import LivePublisher

KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Received:
    """A message out of the inbox. `entry_id` is what is acknowledged."""

    entry_id: str
    message: Message
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How an engine's turn ended, read from its events and its exit status."""

    outcome: TurnOutcome
    reason: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    session_id: str | None = None


class Turn:
    """`seq` counts the live events from 0; `received` starts with the head, the message that began the turn."""

    def __init__(self, head: Received, live: LivePublisher) -> None:
        self.id = f"t-{new_id()}"
        self.received = [head]
        self.over = False
        self.tool_calls = 0
        self.waits: set[asyncio.Timeout] = set()
        self._live = live
        self._seq = 0
        self._began = time.monotonic()
        self._sends: Counter[str] = Counter()

    @property
    def head(self) -> Received:
        return self.received[0]

    @property
    def messages(self) -> tuple[str, ...]:
        return tuple(received.message.id for received in self.received)

    @property
    def entry_ids(self) -> list[str]:
        return [received.entry_id for received in self.received]

    def emit(self, kind: type[TurnEvent], **fields: Any) -> Envelope:
        if kind is TurnToolCall:
            self.tool_calls += 1
        envelope = self._live.publish(kind(turn_id=self.id, seq=self._seq, **fields))
        self._seq += 1
        return envelope

    def join(self, received: Sequence[Received]) -> None:
        """The turn takes further messages up; they are acked or put back with it."""
        if not received:
            return
        self.received.extend(received)
        self.emit(TurnJoined, messages=tuple(item.message.id for item in received))

    def end(self, ending: Ending) -> Envelope:
        """Nothing may be emitted after this. Calls that still wait for messages are told to stop waiting."""
        for wait in self.waits:
            wait.reschedule(asyncio.get_running_loop().time())
        self.over = True
        return self.emit(
            TurnEnded,
            outcome=ending.outcome,
            reason=ending.reason,
            messages=self.messages,
            duration_ms=round((time.monotonic() - self._began) * 1000),
            tool_calls=self.tool_calls,
            cost_usd=ending.cost_usd,
            usage=ending.usage,
            session_id=ending.session_id,
        )

    def reserve_key(self, to: str, body: str, in_reply_to: str | None) -> str:
        """The idempotency key of a send: the same when this turn is run again and sends the same again.

        The head message, the send and its ordinal among identical ones decide it, so that a run that was cut off and
        the run that repeats it make one message, and two identical sends in one run make two.
        """
        send = "\0".join((self.head.message.id, to, in_reply_to or "", body))
        ordinal = self._sends[send]
        self._sends[send] += 1
        digest = hashlib.blake2b(f"{ordinal}\0{send}".encode(), digest_size=KEY_BYTES)
        return f"s-{digest.hexdigest()}"

    def give_back_key(self, to: str, body: str, in_reply_to: str | None) -> None:
        """The send was not stored: the same send, tried again, gets the same key."""
        self._sends["\0".join((self.head.message.id, to, in_reply_to or "", body))] -= 1

    def reserve_call_key(self, tool: str, arguments: str) -> str:
        """The same for another tool's call, so that a run which repeats this one asks and reminds nothing twice."""
        return self.reserve_key(f"tool {tool}", arguments, None)

    def give_back_call_key(self, tool: str, arguments: str) -> None:
        self.give_back_key(f"tool {tool}", arguments, None)


class CurrentTurn:
    """Which turn runs now, for those who serve its engine."""

    def __init__(self, live: LivePublisher) -> None:
        self._live = live
        self._turn: Turn | None = None

    @property
    def turn(self) -> Turn | None:
        """None between turns."""
        return self._turn if self._turn and not self._turn.over else None

    def begin(self, head: Received) -> Turn:
        self._turn = Turn(head, self._live)
        return self._turn

    def note(self, text: str) -> None:
        """A note in this turn; between turns, one that stands alone."""
        if self.turn:
            self.turn.emit(TurnNote, text=text)
        else:
            self._live.publish(TurnNote(turn_id=f"t-{new_id()}", seq=0, text=text))

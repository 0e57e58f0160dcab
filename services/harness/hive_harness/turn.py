"""One turn: which messages it took up, its live events in order, and the keys of what it sends."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import new_id
from hive_contracts.messages import Message
from hive_contracts.turns import TurnEnded, TurnEvent, TurnJoined, TurnNote, TurnToolCall, Usage
from hive_harness.figures import Counts
from hive_harness.live import LivePublisher

KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Received:
    """A message out of the inbox. `entry_id` is what is acknowledged."""

    entry_id: str
    message: Message
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Compaction:
    """What the engine says of its shortening the conversation. `before` and `after` in tokens."""

    done: bool
    before: int = 0
    after: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an engine's turn ended, read from its events and its exit status.

    `window`: the model's, in tokens, 0 where it is not told; `resets_at`: when the provider's limit ends;
    `exit_status`: of an engine that ended by itself, negative for a signal.
    """

    outcome: TurnOutcome
    reason: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float = 0.0
    session_id: str | None = None
    window: int = 0
    resets_at: datetime | None = None
    compaction: Compaction | None = None
    exit_status: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a turn is ended before its end. `gently`: the engine is asked to leave off first, and may live on."""

    outcome: TurnOutcome
    reason: str
    gently: bool = True


class Turn:
    """`seq` counts the live events from 0; `received` starts with the head, the message that began the turn.

    A turn of the harness's own has none, and takes none up.
    """

    def __init__(
        self, head: Received | None, live: LivePublisher, levels: Callable[[int], Mapping[str, float]] = lambda own: {}
    ) -> None:
        self.id = f"t-{new_id()}"
        self.received = [head] if head else []
        self.over = False
        self.outcome: TurnOutcome | None = None
        self.counts = Counts()
        self._levels = levels
        self.tool_calls = 0
        self.waits: set[asyncio.Timeout] = set()
        self.news = asyncio.Event()
        self.settled = asyncio.Event()
        self.stop: Stop | None = None
        self.stop_by = 0.0
        self._excuses = 0
        self._stands_at = 0.0
        self._lag_s = 0.0
        self._live = live
        self._seq = 0
        self._began = time.monotonic()
        self._sends: Counter[str] = Counter()
        if head:
            self.counts.received(head.message.sender)

    @property
    def cause(self) -> str:
        """Id of the message that began it; of the turn itself where none did."""
        return self.received[0].message.id if self.received else self.id

    @property
    def newest(self) -> str | None:
        """Id of the message that it took up last: what is sent now follows from it."""
        return self.received[-1].message.id if self.received else None

    @property
    def urgent(self) -> bool:
        return bool(self.received) and self.received[0].message.urgent

    @property
    def takes_messages(self) -> bool:
        return bool(self.received)

    @property
    def messages(self) -> tuple[str, ...]:
        return tuple(received.message.id for received in self.received)

    @property
    def entry_ids(self) -> list[str]:
        return [received.entry_id for received in self.received]

    def ask_to_stop(self, stop: Stop, *, within_s: float = 0.0) -> None:
        """End it: at once when no tool runs, else when it has come back, and within that many seconds.

        The first to ask counts, but for a cancellation, which is final.
        """
        if self.stop is None or stop.outcome is TurnOutcome.CANCELLED:
            self.stop = stop
            self.stop_by = _now() + within_s
        self.news.set()

    @property
    def is_cancelled(self) -> bool:
        return self.stop is not None and self.stop.outcome is TurnOutcome.CANCELLED

    @contextmanager
    def excused(self) -> Iterator[None]:
        """While somebody else is waited for (a person's permission), no clock of the turn runs."""
        began = self.clock()
        self._excuses += 1
        self._stands_at = self._stands_at if self._excuses > 1 else began
        self.news.set()
        try:
            yield
        finally:
            self._excuses -= 1
            if not self._excuses:
                self._lag_s = _now() - self._stands_at
            self.news.set()

    @property
    def is_excused(self) -> bool:
        return self._excuses > 0

    def clock(self) -> float:
        """The turn's own time, in seconds: it stands still while the turn is excused."""
        return self._stands_at if self._excuses else _now() - self._lag_s

    def emit(self, kind: type[TurnEvent], **fields: Any) -> Envelope:
        if kind is TurnToolCall:
            self.tool_calls += 1
            self.counts.tool(str(fields.get("name", "")))
        envelope = self._live.publish(kind(turn_id=self.id, seq=self._seq, **fields))
        self._seq += 1
        return envelope

    def join(self, received: Sequence[Received]) -> None:
        """The turn takes further messages up; they are acked or put back with it."""
        if not received:
            return
        self.received.extend(received)
        for item in received:
            self.counts.received(item.message.sender)
        self.emit(TurnJoined, messages=tuple(item.message.id for item in received))

    def end(self, ending: Ending) -> Envelope:
        """Nothing may be emitted after this. Calls that still wait for messages are told to stop waiting."""
        for wait in self.waits:
            wait.reschedule(asyncio.get_running_loop().time())
        self.over = True
        self.outcome = ending.outcome
        if ending.exit_status is not None:
            self.counts.exited(ending.exit_status)
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
            stats={**self.counts.stats(), **self._levels(len(self.received))},
        )

    def reserve_key(self, to: str, body: str, in_reply_to: str | None) -> str:
        """The idempotency key of a send: the same when this turn is run again and sends the same again.

        The head message, the send and its ordinal among identical ones decide it, so that a run that was cut off and
        the run that repeats it make one message, and two identical sends in one run make two.
        """
        send = "\0".join((self.cause, to, in_reply_to or "", body))
        ordinal = self._sends[send]
        self._sends[send] += 1
        digest = hashlib.blake2b(f"{ordinal}\0{send}".encode(), digest_size=KEY_BYTES)
        return f"s-{digest.hexdigest()}"

    def give_back_key(self, to: str, body: str, in_reply_to: str | None) -> None:
        """The send was not stored: the same send, tried again, gets the same key."""
        self._sends["\0".join((self.cause, to, in_reply_to or "", body))] -= 1

    def reserve_call_key(self, tool: str, arguments: str) -> str:
        """The same for another tool's call, so that a run which repeats this one asks and reminds nothing twice."""
        return self.reserve_key(f"tool {tool}", arguments, None)

    def give_back_call_key(self, tool: str, arguments: str) -> None:
        self.give_back_key(f"tool {tool}", arguments, None)


def _now() -> float:
    return asyncio.get_running_loop().time()


class CurrentTurn:
    """Which turn runs now, for those who serve its engine."""

    def __init__(self, live: LivePublisher, *, levels: Callable[[int], Mapping[str, float]]) -> None:
        self._live = live
        self._levels = levels
        self._turn: Turn | None = None

    @property
    def turn(self) -> Turn | None:
        """None between turns."""
        return self._turn if self._turn and not self._turn.over else None

    def begin(self, head: Received) -> Turn:
        self._turn = Turn(head, self._live, self._levels)
        return self._turn

    def begin_own(self) -> Turn:
        """One that no message began."""
        self._turn = Turn(None, self._live, self._levels)
        return self._turn

    def note(self, text: str) -> None:
        """A note in this turn; between turns, one that stands alone."""
        if self.turn:
            self.turn.emit(TurnNote, text=text)
        else:
            self._live.publish(TurnNote(turn_id=f"t-{new_id()}", seq=0, text=text))

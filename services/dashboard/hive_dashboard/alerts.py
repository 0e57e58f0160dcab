"""Facts of `hive:events` that the operator is to see even when nobody looked: who flooded, which loop was stopped,
whose sends were refused for their number.

They are kept in a store, with how far was read: a dashboard that starts goes on where the one before it stopped.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import structlog

from hive_contracts.agents import AgentFloodEnded, AgentFlooding
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import InboxFull, TooFast
from hive_contracts.messages import LoopStopped, MessageDelivered, MessageRefused
from hive_contracts.names import OPERATOR
from hive_dashboard.live import position_of
from hive_dashboard.store_alerts import Alert, AlertKind, AlertStore, Ended, Happened
from hive_runtime.bus import Entry
from hive_runtime.errors import StoreUnavailable

FAR: Final = 2_000
"""Facts after which it is written down how far was read, though none was for the operator."""

MOST_WAITING: Final = 1_000
"""Of what the store would not take; the oldest go."""

LIMITED: Final = frozenset({TooFast.code, InboxFull.code})
REASON: Final = 300

log = structlog.get_logger()


class Alerts:
    """`notice` each entry, then `keep`."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store
        self._waiting: list[Happened] = []
        self._position = ""
        self._passed = 0

    def begin(self, last: str) -> str:
        """After which entry to read, `last` being the newest there is: the very first time that one. Blocks."""
        try:
            known = self._store.position()
            if not known:
                self._store.take((), up_to=last)
        except StoreUnavailable as error:
            log.warning("alerts cannot be read", reason=str(error))
            return last
        return known if known and position_of(known) <= position_of(last) else last

    def notice(self, entry: Entry, envelope: Envelope) -> None:
        self._position = entry.id
        self._passed += 1
        if (reader := _READERS.get(envelope.type)) is None:
            return
        try:
            happened = reader(envelope, envelope.time)
        except MalformedEnvelope as error:
            log.warning("fact is malformed", entry=entry.id, reason=str(error)[:200])
            return
        if happened:
            self._waiting.append(happened)

    async def keep(self) -> bool:
        """Write down what was noticed; whether there was anything. What cannot be written waits for the next time."""
        if not self._waiting and self._passed < FAR:
            return False
        try:
            await asyncio.to_thread(self._store.take, tuple(self._waiting), up_to=self._position)
        except StoreUnavailable as error:
            log.warning("alerts cannot be kept", reason=str(error))
            self._waiting = self._waiting[-MOST_WAITING:]
            return False
        news = bool(self._waiting)
        self._waiting, self._passed = [], 0
        return news


def _flooding(envelope: Envelope, at: datetime) -> Happened:
    fact = envelope.payload(AgentFlooding)
    return Alert(AlertKind.FLOOD, fact.agent, fact.reason[:REASON], at, at)


def _flood_ended(envelope: Envelope, at: datetime) -> Happened:
    return Ended(f"{AlertKind.FLOOD}-{envelope.payload(AgentFloodEnded).agent}")


def _loop(envelope: Envelope, at: datetime) -> Happened:
    fact = envelope.payload(LoopStopped)
    return Alert(AlertKind.LOOP, fact.sender, fact.reason[:REASON], at, at, peer=fact.to, trace_id=fact.trace_id)


def _refused(envelope: Envelope, at: datetime) -> Happened | None:
    fact = envelope.payload(MessageRefused)
    if fact.code not in LIMITED or fact.sender == OPERATOR:
        return None
    return Alert(AlertKind.REFUSED, fact.sender, fact.reason[:REASON], at, at, peer=fact.to)


def _delivered(envelope: Envelope, at: datetime) -> Happened | None:
    """What the operator writes into a stopped conversation lets it begin anew: that is settled."""
    message = envelope.payload(MessageDelivered).message
    return Ended(f"{AlertKind.LOOP}-{message.trace_id}", settled=True) if message.sender == OPERATOR else None


_READERS: Final[Mapping[str, Callable[[Envelope, datetime], Happened | None]]] = {
    AgentFlooding.TYPE: _flooding,
    AgentFloodEnded.TYPE: _flood_ended,
    LoopStopped.TYPE: _loop,
    MessageRefused.TYPE: _refused,
    MessageDelivered.TYPE: _delivered,
}

"""A conversation that was stopped: told once to whoever can do something about it."""

from typing import Final

import structlog

from hive_broker.known import Known
from hive_broker.mail import SOURCE, Mail
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import LoopStopped, Message
from hive_contracts.names import MANAGER, OPERATOR, SYSTEM
from hive_runtime.bus import Append, Batch, Bus
from hive_runtime.errors import StoreUnavailable
from hive_runtime.records.messages import MessageWriter
from hive_runtime.records.traffic import count_from

MAX_KNOWN: Final = 10_000

log = structlog.get_logger()


class LoopReport:
    """`report` may be repeated: a conversation is told once, and once more after the operator spoke into it."""

    def __init__(self, *, bus: Bus, messages: MessageWriter, known: Known, mail: Mail) -> None:
        self._bus = bus
        self._known = known
        self._messages = messages
        self._mail = mail
        self._told: set[str] = set()

    async def report(self, refused: Message, reason: str) -> None:
        """Raises `Unavailable`; then it is not told yet."""
        key = f"loop:{refused.trace_id}:{self._words(refused.trace_id)}"
        if key in self._told or await self._is_told(key):
            return
        log.warning("loop stopped", trace=refused.trace_id, sender=refused.sender, to=refused.recipient)
        fact = LoopStopped(
            trace_id=refused.trace_id,
            sender=refused.sender,
            to=refused.recipient[:100],
            hop=refused.hop,
            reason=reason,
        )
        envelope = Envelope.of(fact, source=SOURCE, id=f"{key}:stopped", subject=refused.trace_id)
        await self._bus.write(Batch([Append(streams.EVENTS, envelope)]))
        await self._mail.tell((MANAGER, OPERATOR), _body(refused, reason), key=key)
        self._remember(key)

    def _words(self, trace_id: str) -> int:
        """How often the operator spoke into it; while the record cannot be read it is told as if for the first time."""
        try:
            return count_from(self._messages.store, trace_id, OPERATOR)
        except StoreUnavailable:
            return 0

    async def _is_told(self, key: str) -> bool:
        """By a broker before this one: the notice is delivered last."""
        notice = message_id(SYSTEM, key, OPERATOR)
        await self._known.load([notice])
        return self._known.is_delivered(notice)

    def _remember(self, key: str) -> None:
        if len(self._told) >= MAX_KNOWN:
            self._told.clear()
        self._told.add(key)


def _body(refused: Message, reason: str) -> str:
    cause = reason.partition(", so it was stopped")[0]
    return (
        f"A conversation was stopped: {cause}. {refused.sender} was about to write to {refused.recipient[:100]} again. "
        f"`hive trace {refused.trace_id}` shows it from its beginning. Agents may write to each other "
        "in it again once the operator has written into it, or about something else at any time."
    )

"""A conversation that was stopped: told once to whoever can do something about it."""

from typing import Final

import structlog

from hive_broker.mail import SOURCE, SystemMail
from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import LoopStopped, Message, MessageState
from hive_contracts.names import MANAGER, OPERATOR, SYSTEM
from hive_runtime.bus import Append, Batch, Bus
from hive_runtime.records.messages import MessageWriter
from hive_runtime.records.traffic import count_from

MAX_KNOWN: Final = 10_000

log = structlog.get_logger()


class LoopReport:
    """`report` may be repeated: a conversation is told once, and once more after the operator spoke into it."""

    def __init__(self, *, bus: Bus, messages: MessageWriter, mail: SystemMail) -> None:
        self._bus = bus
        self._messages = messages
        self._mail = mail
        self._told: set[str] = set()

    async def report(self, refused: Message, reason: str) -> None:
        """Raises `Unavailable`; then it is not told yet."""
        words = count_from(self._messages.store, refused.trace_id, OPERATOR)
        key = f"loop:{refused.trace_id}:{words}"
        if key in self._told or self._is_told(key):
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
        await self._mail.tell((OPERATOR, MANAGER), _body(refused, reason), key=key)
        self._remember(key)

    def _is_told(self, key: str) -> bool:
        """By a broker before this one: the notice is delivered last."""
        notice = self._messages.find(message_id(SYSTEM, key, OPERATOR), OPERATOR)
        return notice is not None and notice.state is not MessageState.ACCEPTED

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

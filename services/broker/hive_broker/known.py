"""What was delivered lately, in memory: the checks of an outbox need it before the record has it, or without a record.

What is not in memory is looked for in the record, as long as that can be read, and beside the inbox, where the
idempotency key keeps for a day what it made. Bounded: the messages used least lately are forgotten.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from hive_contracts.messages import Message, MessageState, MessageView
from hive_contracts.names import OPERATOR
from hive_runtime.bus import Bus
from hive_runtime.errors import StoreUnavailable
from hive_runtime.records.messages import MessageWriter

MOST: Final = 4_096
"""Messages in memory, each with a body of at most 4 KiB."""

REST_S: Final = 1.0
"""After the record could not be read it is not asked again for so long."""

MAX_ID: Final = 64

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Origin:
    """A message that another one follows from."""

    id: str
    trace_id: str
    hop: int


@dataclass(slots=True)
class _Item:
    message: Message
    delivered: bool


class Known:
    """One for all outboxes. `find` and `origin` know what `load` was asked for, and everything delivered lately."""

    def __init__(
        self, bus: Bus, messages: MessageWriter, *, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bus = bus
        self._messages = messages
        self._most = most
        self._clock = clock
        self._items: OrderedDict[str, _Item] = OrderedDict()
        self._origins: OrderedDict[tuple[str, str], Origin] = OrderedDict()
        self._rest_until = 0.0

    async def load(self, ids: Collection[str], *, causes: Collection[str] = (), receiver: str = "") -> None:
        """Look for messages, and for those of `causes` that `receiver` received. Raises `BusUnavailable`."""
        wanted = [i for i in {*ids, *causes} if len(i) <= MAX_ID and i not in self._items]
        for view in self._recorded(wanted).values():
            self.remember(_message(view), delivered=view.state is not MessageState.ACCEPTED)
        missing = [i for i in causes if i in wanted and i not in self._items and (receiver, i) not in self._origins]
        if missing:
            made = await self._bus.made([(receiver, i) for i in missing])
            for claimed, found in zip(missing, made, strict=True):
                if found and found.trace_id:
                    self._origins[receiver, claimed] = Origin(claimed, found.trace_id, found.hop)
        while len(self._origins) > self._most:
            self._origins.popitem(last=False)

    def find(self, message_id: str) -> Message | None:
        item = self._items.get(message_id)
        return item.message if item else None

    def origin(self, message_id: str, receiver: str) -> Origin | None:
        """The message, if `receiver` received it; the operator, who sees them all, may answer any."""
        found = self.find(message_id)
        if found is None:
            return self._origins.get((receiver, message_id))
        return Origin(found.id, found.trace_id, found.hop) if receiver in (found.recipient, OPERATOR) else None

    def is_delivered(self, message_id: str) -> bool:
        item = self._items.get(message_id)
        return item is not None and item.delivered

    def remember(self, message: Message, *, delivered: bool) -> Message:
        """Returns what is known under this id: it stays what it first was."""
        item = self._items.setdefault(message.id, _Item(message, delivered))
        item.delivered |= delivered
        self._items.move_to_end(message.id)
        while len(self._items) > self._most:
            self._items.popitem(last=False)
        return item.message

    async def was_made(self, keys: Sequence[tuple[str, str]]) -> list[str]:
        """Of (recipient, message id) the recipients whose inbox has, or had, that message. Raises `BusUnavailable`."""
        made = await self._bus.made(keys)
        return [name for (name, _), found in zip(keys, made, strict=True) if found]

    def _recorded(self, ids: Sequence[str]) -> dict[str, MessageView]:
        """From the record; nothing while it cannot be read."""
        if not ids or self._clock() < self._rest_until:
            return {}
        try:
            return self._messages.known(ids)
        except StoreUnavailable as error:
            log.warning("record not read", reason=str(error))
            self._rest_until = self._clock() + REST_S
            return {}


def _message(view: MessageView) -> Message:
    return Message.model_validate(view.model_dump(exclude={"steps", "state", "attempts"}))

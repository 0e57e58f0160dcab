"""Delivers the messages that the broker itself writes: recorded, put into the inbox once, told to who watches."""

from collections.abc import Callable
from typing import Final

from hive_broker.mail import delivered
from hive_contracts import streams
from hive_contracts.messages import Message, MessageState
from hive_runtime.bus import Append, Bus, Delivery
from hive_runtime.records.messages import MessageWriter

Clock = Callable[[], int]
"""The time in milliseconds since 1970."""

EXCERPT: Final = 300


class Courier:
    """`deliver` may be repeated: a message is delivered once per id."""

    def __init__(self, bus: Bus, messages: MessageWriter, clock: Clock) -> None:
        self._bus = bus
        self._messages = messages
        self._clock = clock

    async def deliver(self, message: Message) -> Append:
        """Raises `Unavailable`. Returns what to tell those who watch."""
        self._messages.accept([message])
        recorded = self._messages.find(message.id, message.recipient)
        envelope = delivered(message)
        if recorded is None or recorded.state is MessageState.ACCEPTED:  # the inbox forgets its keys after a day
            await self._bus.deliver([Delivery(message.recipient, message.id, envelope)])
            self._messages.delivered([message], at=self._clock())
        return Append(streams.EVENTS, envelope)

    async def write(self, appends: list[Append]) -> None:
        for append in appends:
            await self._bus.append(append.stream, append.envelope)


def excerpt(text: str, limit: int = EXCERPT) -> str:
    """`text` on one line, so that none of its lines can pass for one of ours."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

"""The operator's inbox over crashes: a message that was read does not come back, and leaves nothing behind."""

import asyncio
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.failing_bus import FailingBus

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.messages import Message, MessageDelivered
from hive_contracts.names import OPERATOR
from hive_dashboard.inbox import OperatorInbox
from hive_runtime.bus import Delivery, Entry, ensure_principal
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.messages import MessageReader, MessageWriter

MESSAGE = Message(
    id="m-1", sender="ada", recipient=OPERATOR, body="hi", sent_at=datetime(2026, 1, 1, tzinfo=UTC), trace_id="m-1"
)


async def entries(bus: MemoryBus, *, pending: bool) -> list[Entry]:
    reader = bus.reader()
    stream = streams.inbox(OPERATOR)
    if pending:
        return await reader.read_pending(stream, streams.GROUP_HARNESS, "dashboard", after="0", count=10)
    return await reader.read_new(stream, streams.GROUP_HARNESS, "dashboard", count=10, block_ms=0)


def test_a_crash_between_telling_and_acknowledging_leaves_nothing_in_the_inbox(tmp_path: Path) -> None:
    """The broker is away, so that its store still says unread when the next dashboard looks."""

    async def scenario() -> None:
        bus = MemoryBus()
        await ensure_principal(bus, OPERATOR)
        envelope = Envelope.of(MessageDelivered(message=MESSAGE), source="broker")
        await bus.deliver([Delivery(OPERATOR, MESSAGE.id, envelope)])
        with closing(MessageWriter(tmp_path / "broker.sqlite")) as writer:
            writer.record([(MESSAGE, 0)])
        store = MessageReader(tmp_path / "broker.sqlite")
        first = OperatorInbox(FailingBus(bus, fail_at=2), store)  # the third call acknowledges
        await first.take_lease()
        await first.handle(await entries(bus, pending=False))
        with pytest.raises(BusUnavailable):
            await first.mark_read(MESSAGE.id)
        assert await bus.depth(streams.live(OPERATOR)) == 1
        second = OperatorInbox(bus, store)
        await second.take_lease()
        await second.handle(await entries(bus, pending=True))
        assert await bus.depth(streams.inbox(OPERATOR)) == 0

    asyncio.run(scenario())

"""What follows deliveries is written behind them: all of it, in order, and only then is anything settled."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.broker.post import told
from tests.support.waiting import until

from hive_broker import aftermath
from hive_broker.aftermath import Aftermath
from hive_contracts.envelope import Envelope
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry
from hive_runtime.consumer import Consumer, consume
from hive_runtime.errors import BusFull
from hive_runtime.memory_bus import MemoryBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def _fact(text: str) -> Envelope:
    return Envelope(source="test", type="test.told", id=text)


@asynccontextmanager
async def _running(work: Aftermath) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class _FullBus(MemoryBus):
    """Takes no writes while it is `full`; counts those that it took and refused."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.refused = 0
        self.written = 0

    async def write(self, batch: Batch) -> None:
        if self.full:
            self.refused += 1
            raise BusFull("no room")
        self.written += 1
        await super().write(batch)


def test_what_follows_is_written_in_order_and_then_settled(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("outbox", "g")
        for text in ("a", "b"):
            await bus.append("outbox", _fact(text))
        reader = bus.reader()
        entries = await reader.read_new("outbox", "g", "c", count=9, block_ms=0)
        settled: list[str] = []
        work = Aftermath(bus)
        for entry in entries:
            batch = Batch([Append("told", _fact(entry.fields["id"]))], [Ack("outbox", "g", [entry.id], delete=True)])
            await work.put(batch, lambda entry=entry: settled.append(entry.fields["id"]))  # type: ignore[misc]
        assert settled == []
        assert await bus.depth("outbox") == 2
        async with _running(work):
            await asyncio.wait_for(work.flush(), 20)
        assert [envelope.id for envelope in await told(bus, "told")] == ["a", "b"]
        assert settled == ["a", "b"]
        assert await bus.depth("outbox") == 0
        assert await reader.read_pending("outbox", "g", "c", after="0", count=9) == []
        await reader.aclose()

    on_bus(scenario)


def test_what_came_singly_is_written_at_once() -> None:
    async def scenario() -> None:
        bus = _FullBus()
        work = Aftermath(bus)
        for number in range(20):
            await work.put(Batch([Append("told", _fact(str(number)))]), lambda: None)
        async with _running(work):
            await asyncio.wait_for(work.flush(), 20)
        assert bus.written == 1
        assert await bus.depth("told") == 20

    asyncio.run(scenario())


def test_a_full_server_gets_it_when_it_has_room_again() -> None:
    async def scenario() -> None:
        bus = _FullBus()
        bus.full = True
        settled: list[str] = []
        work = Aftermath(bus)
        async with _running(work):
            await work.put(Batch([Append("told", _fact("a"))]), lambda: settled.append("a"))
            await until(lambda: bus.refused >= 2)
            await work.put(Batch([Append("told", _fact("b"))]), lambda: settled.append("b"))
            assert settled == []
            bus.full = False
            await asyncio.wait_for(work.flush(), 20)
        assert [envelope.id for envelope in await told(bus, "told")] == ["a", "b"]
        assert settled == ["a", "b"]

    asyncio.run(scenario())


def test_outboxes_wait_for_it_when_much_is_waiting() -> None:
    """Several at once, each with more than all of them may have."""

    async def scenario() -> None:
        bus = _FullBus()
        bus.full = True
        work = Aftermath(bus)
        appends = [Append("told", _fact(str(number))) for number in range(aftermath.MOST + 1)]
        async with _running(work):
            outboxes = [asyncio.create_task(work.put(Batch(appends), lambda: None)) for _ in range(3)]
            await until(lambda: bus.refused >= 2)
            assert not any(task.done() for task in outboxes)
            bus.full = False
            await asyncio.wait_for(asyncio.gather(*outboxes), 20)
        assert await bus.depth("told") == 3 * len(appends)

    asyncio.run(scenario())


def test_an_entry_is_not_handed_out_again_while_what_follows_it_waits(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("outbox", "g")
        handled: list[tuple[str, bool]] = []
        work = Aftermath(bus)
        consumer = Consumer(bus, "outbox", "g", "c")

        async def handle(entries: list[Entry]) -> None:
            for entry in entries:
                handled.append((entry.fields["id"], entry.redelivered))
                if entry.fields["id"] == "b" and not entry.redelivered:
                    raise BusFull("no room")
                batch = Batch(acks=[Ack("outbox", "g", [entry.id], delete=True)])
                await work.put(batch, lambda entry=entry: consumer.settle([entry.id]))  # type: ignore[misc]

        serving = asyncio.create_task(consume(consumer, handle, settles=False))
        await bus.append("outbox", _fact("a"))
        await until(lambda: len(handled) == 1)
        await bus.append("outbox", _fact("b"))
        await until(lambda: len(handled) == 3)
        assert handled == [("a", False), ("b", False), ("b", True)]
        async with _running(work):
            await asyncio.wait_for(work.flush(), 20)
        assert consumer.in_hand() == []
        assert await bus.depth("outbox") == 0
        serving.cancel()
        await asyncio.wait([serving])
        await consumer.aclose()

    on_bus(scenario)

"""`Consumer` strands nothing: not when it starts, is cancelled, or loses its server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import pytest
from tests.support.redis_server import RedisServer

from hive_contracts.envelope import Envelope
from hive_runtime.bus import Ack, Batch, Bus, Entry
from hive_runtime.consumer import Consumer, consume
from hive_runtime.errors import BusUnavailable, NoGroup, StoreUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def envelope(text: str = "x") -> Envelope:
    return Envelope(source="test", type="test.event", data={"text": text})


def _texts(entries: list[Entry]) -> list[str]:
    return [str(Envelope.decode(entry.fields).data["text"]) for entry in entries]


def _consumer(bus: Bus, *, count: int = 100, may_create: bool = True) -> Consumer:
    return Consumer(bus, "s", "g", "c", count=count, may_create=may_create)


async def _settle(bus: Bus, consumer: Consumer, entries: list[Entry]) -> None:
    ids = [entry.id for entry in entries]
    await bus.write(Batch(acks=[Ack("s", "g", ids, delete=True)]))
    consumer.settle(ids)


@asynccontextmanager
async def _running(work: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_after_a_start_its_own_pending_entries_come_first(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        for text in "abc":
            await bus.append("s", envelope(text))
        async with aclosing(_consumer(bus, count=2)) as former:
            assert _texts(await former.read(block_ms=50)) == ["a", "b"]
        async with aclosing(_consumer(bus)) as consumer:
            again = await consumer.read(block_ms=50)
            assert (_texts(again), [entry.redelivered for entry in again]) == (["a", "b"], [True, True])
            new = await consumer.read(block_ms=50)
            assert (_texts(new), [entry.redelivered for entry in new]) == (["c"], [False])

    on_bus(scenario)


def test_many_pending_entries_come_page_by_page_and_once(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        for number in range(7):
            await bus.append("s", envelope(str(number)))
        async with aclosing(_consumer(bus)) as former:
            await former.read(block_ms=50)
        async with aclosing(_consumer(bus, count=3)) as consumer:
            pages = [_texts(await consumer.read(block_ms=10)) for _ in range(4)]
            assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"], []]

    on_bus(scenario)


def test_an_entry_in_hand_is_not_handed_out_twice(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        await bus.append("s", envelope("a"))
        async with aclosing(_consumer(bus)) as consumer:
            (first,) = await consumer.read(block_ms=50)
            waiting = asyncio.ensure_future(consumer.read())
            await asyncio.sleep(0)
            waiting.cancel()  # from here on it looks at its pending entries again
            with suppress(asyncio.CancelledError):
                await waiting
            assert await consumer.read(block_ms=10) == []
            consumer.rewind()
            (again,) = await consumer.read(block_ms=50)
            assert (again.id, again.redelivered) == (first.id, True)
            await _settle(bus, consumer, [again])
            consumer.rewind()
            assert await consumer.read(block_ms=10) == []

    on_bus(scenario)


def test_an_empty_wait_ends_with_nothing(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await bus.ensure_group("s", "g")
        async with aclosing(_consumer(bus)) as consumer:
            assert await consumer.read(block_ms=5) == []
            assert await consumer.read(block_ms=0) == []

    on_bus(scenario)


def test_a_cancelled_read_strands_nothing(redis: RedisServer) -> None:
    """Cancelled at every point of its way, while entries come."""
    sent: list[str] = []
    seen: list[str] = []
    stop = asyncio.Event()

    async def produce() -> None:
        async with aclosing(RedisBus(redis.address)) as bus:
            while not stop.is_set():
                sent.append(str(len(sent)))
                await bus.append("s", envelope(sent[-1]))

    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus, aclosing(_consumer(bus, count=5)) as consumer:
            await bus.ensure_group("s", "g")
            async with _running(produce()) as producer:
                for turns in (number % 25 for number in range(150)):
                    reading = asyncio.ensure_future(consumer.read(block_ms=1000))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    reading.cancel()
                    with suppress(asyncio.CancelledError):
                        await take(bus, consumer, await reading)
                stop.set()
                await producer
            while len(seen) < len(sent):
                await take(bus, consumer, await asyncio.wait_for(consumer.read(), 10))
            assert await bus.depth("s") == 0
        assert sorted(seen, key=int) == sent

    async def take(bus: Bus, consumer: Consumer, entries: list[Entry]) -> None:
        seen.extend(_texts(entries))
        await _settle(bus, consumer, entries)

    asyncio.run(scenario())


def test_a_group_that_is_gone_is_made_again_and_flows(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with (
            aclosing(RedisBus(redis.address)) as bus,
            aclosing(RedisAdmin(redis.address)) as admin,
            aclosing(_consumer(bus)) as consumer,
        ):
            await bus.ensure_group("s", "g")
            await bus.append("s", envelope("before"))
            assert _texts(await consumer.read()) == ["before"]
            reading = asyncio.ensure_future(consumer.read())
            await asyncio.sleep(0)
            await admin.flush()
            await bus.append("s", envelope("after"))
            assert _texts(await asyncio.wait_for(reading, 10)) == ["after"]

    asyncio.run(scenario())


def test_who_may_not_make_groups_waits_for_one(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        async with aclosing(_consumer(bus, may_create=False)) as consumer:
            reading = asyncio.ensure_future(consumer.read())
            async with aclosing(bus.reader()) as probe:
                with pytest.raises(NoGroup):
                    await probe.read_new("s", "g", "probe", count=1, block_ms=0)
            await bus.append("s", envelope("a"))
            await bus.ensure_group("s", "g")
            assert _texts(await asyncio.wait_for(reading, 10)) == ["a"]

    on_bus(scenario)


def test_a_killed_server_loses_nothing_that_was_acknowledged(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus, aclosing(_consumer(bus)) as consumer:
            await bus.ensure_group("s", "g")
            for text in "abc":
                await bus.append("s", envelope(text))
            first = await consumer.read(count=1)
            await _settle(bus, consumer, first)
            held = await consumer.read(count=1)
            reading = asyncio.ensure_future(consumer.read(count=1))
            late = await reading
            waiting = asyncio.ensure_future(consumer.read())
            await asyncio.sleep(0)
            redis.kill()
            await asyncio.to_thread(redis.start)
            await _append_again(bus, "d")
            assert _texts(await asyncio.wait_for(waiting, 20)) == ["d"]
            consumer.rewind()
            assert _texts(first + held + late) == ["a", "b", "c"]
            assert _texts(await consumer.read(block_ms=50)) == ["b", "c", "d"]

    asyncio.run(scenario())


async def _append_again(bus: Bus, text: str) -> None:
    """The first command after the server's death finds a dead connection."""
    with suppress(BusUnavailable):
        await bus.ping()
    await bus.append("s", envelope(text))


@pytest.mark.parametrize("away", [BusUnavailable("redis is away"), StoreUnavailable("disk is full")])
def test_a_batch_is_put_back_when_what_it_needs_is_away(away: Exception) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        handled: list[tuple[str, bool]] = []
        done = asyncio.Event()

        async def handle(entries: list[Entry]) -> None:
            handled.extend((text, entry.redelivered) for text, entry in zip(_texts(entries), entries, strict=True))
            if len(handled) < 3:
                raise away
            await bus.write(Batch(acks=[Ack("s", "g", [entry.id for entry in entries])]))
            done.set()

        await bus.ensure_group("s", "g")
        await bus.append("s", envelope("a"))
        async with aclosing(_consumer(bus)) as consumer, _running(consume(consumer, handle)):
            await asyncio.wait_for(done.wait(), 10)
        assert handled == [("a", False), ("a", True), ("a", True)]

    asyncio.run(scenario())


def test_another_error_of_the_handler_ends_the_loop() -> None:
    async def scenario() -> None:
        bus = MemoryBus()

        async def handle(entries: list[Entry]) -> None:
            raise KeyError(entries[0].id)

        await bus.ensure_group("s", "g")
        await bus.append("s", envelope())
        async with aclosing(_consumer(bus)) as consumer:
            with pytest.raises(KeyError):
                await asyncio.wait_for(consume(consumer, handle), 10)

    asyncio.run(scenario())

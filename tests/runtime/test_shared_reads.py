"""`SharedReads`: many streams in a few reads, and still every entry once, in order, to the reader of its stream."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import pytest
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, until

from hive_contracts.envelope import Envelope
from hive_runtime import shared_reads
from hive_runtime.backoff import persist
from hive_runtime.bus import Ack, Batch, Bus, Entry
from hive_runtime.consumer import Consumer, consume
from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus, call, connect
from hive_runtime.shared_reads import SharedReads

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]

FEW = 6
"""Reads of at most 128 streams that do for 300: a few more while they are being put together."""


@pytest.fixture(autouse=True)
def soon_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_reads, "ALONE_S", 0.05)
    monkeypatch.setattr(shared_reads, "TICK_S", 0.5)
    monkeypatch.setattr(shared_reads, "LOOKS", 4)


class Readers:
    """A consumer for each stream, as the broker has them; `seen` is what each handled."""

    def __init__(self, bus: Bus, names: list[str]) -> None:
        self._bus = bus
        self.names = names
        self.shared = SharedReads(bus)
        self.seen: dict[str, list[str]] = {name: [] for name in names}
        self.at_rest: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._few = asyncio.Semaphore(4)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        sharing = asyncio.ensure_future(self.shared.run())
        for name in self.names:
            self.start(name)
        try:
            yield
            assert not sharing.done()
        finally:
            await asyncio.gather(*(self.stop(name) for name in self.names))
            sharing.cancel()
            with suppress(asyncio.CancelledError):
                await sharing

    def start(self, name: str) -> None:
        self._tasks[name] = asyncio.ensure_future(self._serve(name))

    async def stop(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])
        assert self._tasks[name].cancelled()

    async def _serve(self, name: str) -> None:
        async with self._few:
            await persist(lambda: self._bus.ensure_group(name, "g"))

        async def rest() -> None:
            self.at_rest.add(name)

        async def handle(entries: list[Entry]) -> None:
            assert {entry.stream for entry in entries} == {name}
            self.seen[name] += [str(Envelope.decode(entry.fields).data["text"]) for entry in entries]
            await self._bus.write(Batch(acks=[Ack(name, "g", [entry.id for entry in entries], delete=True)]))

        async with aclosing(Consumer(self._bus, name, "g", "c", reader=self.shared.reader(at_rest=rest))) as consumer:
            await consume(consumer, handle)

    async def say(self, name: str, text: str) -> None:
        await self._bus.append(name, Envelope(source="test", type="test.event", data={"text": text}))


def _names(count: int) -> list[str]:
    return [f"stream-{number}" for number in range(count)]


@pytest.mark.slow
def test_hundreds_of_streams_get_each_its_own_entries_in_order_silent_or_not(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        readers = Readers(bus, _names(300))
        dice = random.Random(1)
        said: dict[str, list[str]] = {name: [] for name in readers.names}
        async with readers.running():
            for number in range(600):
                name = dice.choice(readers.names)
                said[name].append(str(number))
                await readers.say(name, str(number))
                if number % 100 == 0:
                    await until(lambda: readers.seen == said)
            await until(lambda: readers.seen == said)

    on_bus(scenario)


@pytest.mark.slow
def test_hundreds_of_silent_streams_wait_in_a_few_reads(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus, aclosing(connect(redis.address)) as plain:
            readers = Readers(bus, _names(300))

            async def wait_in_few() -> bool:
                return 1 <= int((await call(plain.info("clients")))["blocked_clients"]) <= FEW

            async with readers.running():
                for name in readers.names:
                    await readers.say(name, "once")
                await until(lambda: all(readers.seen.values()))
                await eventually(wait_in_few)
                await readers.say("stream-299", "twice")
                await until(lambda: readers.seen["stream-299"] == ["once", "twice"])

    asyncio.run(scenario())


@pytest.mark.slow
def test_who_leaves_takes_nothing_along_and_the_others_miss_nothing(on_bus: OnBus) -> None:
    """Readers stop and start again at any moment, while entries come."""

    async def scenario(bus: Bus) -> None:
        readers = Readers(bus, _names(20))
        dice = random.Random(2)
        said: dict[str, list[str]] = {name: [] for name in readers.names}

        async def speak() -> None:
            for number in range(400):
                name = dice.choice(readers.names)
                said[name].append(str(number))
                await readers.say(name, str(number))
                await asyncio.sleep(0.002)

        async with readers.running():
            speaking = asyncio.ensure_future(speak())
            while not speaking.done():
                name = dice.choice(readers.names)
                await readers.stop(name)
                for _ in range(dice.randrange(20)):
                    await asyncio.sleep(0)
                readers.start(name)
            await speaking
            await until(lambda: _first_time(readers.seen) == said)

    on_bus(scenario)


def _first_time(seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """What was handled and cut off before it was acknowledged comes again."""
    return {name: list(dict.fromkeys(texts)) for name, texts in seen.items()}


def test_who_has_left_leaves_what_comes_then_to_the_next_one(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        readers = Readers(bus, _names(5))
        async with readers.running():
            for name in readers.names:
                await readers.say(name, "first")
            await until(lambda: all(readers.seen.values()))
            await asyncio.sleep(3 * shared_reads.ALONE_S)  # they are silent by then, or not yet: both hold
            await readers.stop("stream-0")
            await readers.say("stream-0", "second")
            async with aclosing(Consumer(bus, "stream-0", "g", "c")) as another:
                (entry,) = await asyncio.wait_for(another.read(), 20)
                assert Envelope.decode(entry.fields).data["text"] == "second"
            readers.start("stream-0")

    on_bus(scenario)


def test_an_emptied_server_has_every_group_again_and_all_flows(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus, aclosing(RedisAdmin(redis.address)) as admin:
            readers = Readers(bus, _names(200))
            async with readers.running():
                await readers.say("stream-7", "before")
                await until(lambda: readers.seen["stream-7"])
                await admin.flush()
                for name in readers.names:
                    await eventually(lambda: _has_group(bus, name))  # noqa: B023 - awaited at once
                    await readers.say(name, "after")
                await until(lambda: all(texts[-1:] == ["after"] for texts in readers.seen.values()))

    asyncio.run(scenario())


async def _has_group(bus: Bus, stream: str) -> bool:
    """Made by its reader alone: nothing has come that could have woken it."""
    try:
        await bus.held(stream, "g")
    except BusUnavailable:
        return False
    return True


def test_one_group_that_is_gone_is_made_again_and_the_others_wait_on(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus, aclosing(connect(redis.address)) as plain:
            readers = Readers(bus, _names(30))
            async with readers.running():
                for name in readers.names:
                    await readers.say(name, "before")
                await until(lambda: all(readers.seen.values()))
                await call(plain.delete("stream-3"))
                await eventually(lambda: _has_group(bus, "stream-3"))
                for name in readers.names:
                    await readers.say(name, "after")
                await until(lambda: all(texts == ["before", "after"] for texts in readers.seen.values()))

    asyncio.run(scenario())


@pytest.mark.slow
def test_after_the_servers_death_all_flows_again(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus:
            readers = Readers(bus, _names(200))
            async with readers.running():
                for name in readers.names:
                    await readers.say(name, "before")
                await until(lambda: all(readers.seen.values()))
                redis.kill()
                await asyncio.to_thread(redis.start)
                await persist(bus.ping)
                for name in readers.names:
                    await readers.say(name, "after")
                await until(lambda: all(texts[-1] == "after" for texts in readers.seen.values()))
                assert _first_time(readers.seen) == {name: ["before", "after"] for name in readers.names}

    asyncio.run(scenario())


def test_a_reader_that_was_silent_for_long_is_told_to_rest_and_wakes_all_the_same(
    on_bus: OnBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_reads, "REST_S", 0.1)

    async def scenario(bus: Bus) -> None:
        readers = Readers(bus, _names(3))
        async with readers.running():
            await until(lambda: len(readers.at_rest) == 3)
            await readers.say("stream-1", "awake")
            await until(lambda: readers.seen["stream-1"] == ["awake"])

    on_bus(scenario)

"""The broker's copy of the registry: true, and read again without reading all of it again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from tests.broker.post import register
from tests.support.failing_bus import FailingBus
from tests.support.redis_server import RedisServer

from hive_broker.directory import Directory
from hive_contracts import streams
from hive_contracts.agents import Desired
from hive_contracts.names import OPERATOR
from hive_runtime.bus import Bus
from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_bus import RedisBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]


def test_a_reading_takes_over_what_is_new_and_keeps_the_records_that_are_not(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        directory = Directory(bus)
        await register(bus, "ada", "lin")
        await directory.refresh()
        ada = directory.get("ada")
        await register(bus, "lin", desired=Desired.STOPPED)
        await bus.hash_set(streams.AGENTS, {"eve": "no record at all"})
        await directory.refresh()
        lin = directory.get("lin")
        assert lin
        assert lin.desired is Desired.STOPPED
        assert directory.get("ada") is ada
        assert directory.principals() == {"ada", "lin", OPERATOR}
        await bus.hash_delete(streams.AGENTS, ["lin"])
        await directory.refresh()
        assert directory.principals() == {"ada", OPERATOR}
        await bus.hash_delete(streams.AGENTS, ["ada", "eve"])
        await directory.refresh()
        assert directory.principals() == {"ada", OPERATOR}  # emptied: the supervisor writes it again

    on_bus(scenario)


def test_many_who_ask_at_once_read_it_once_and_nobody_finds_less_than_there_was(redis: RedisServer) -> None:
    class Counted(FailingBus):
        readings = 0

        async def hash_all(self, key: str) -> dict[str, str]:
            self.readings += 1
            return await super().hash_all(key)

    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus:
            counted = Counted(bus, fail_at=1000)
            directory = Directory(counted)
            await register(bus, "ada")
            early = asyncio.ensure_future(directory.refresh())
            await asyncio.sleep(0)  # it reads
            await register(bus, "lin")
            await asyncio.gather(*(directory.refresh() for _ in range(100)))
            await early
            assert directory.principals() == {"ada", "lin", OPERATOR}
            assert counted.readings <= 3

    asyncio.run(scenario())


def test_who_asked_along_with_one_that_failed_reads_by_itself(on_bus: OnBus) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, "ada")
        directory = Directory(FailingBus(bus, fail_at=0))
        first, second = await asyncio.gather(directory.refresh(), directory.refresh(), return_exceptions=True)
        assert isinstance(first, BusUnavailable)
        assert second is None
        assert directory.principals() == {"ada", OPERATOR}

    on_bus(scenario)

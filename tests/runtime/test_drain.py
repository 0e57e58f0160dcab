"""When there is little room, and when a server takes no writes at all: nobody ends, and all goes on afterwards."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import eventually

from hive_contracts.envelope import Envelope
from hive_contracts.errors import Draining
from hive_runtime.bus import Append, Batch, Memory
from hive_runtime.consumer import Consumer
from hive_runtime.drain import DISK_FROM_BYTES, DISK_UNTIL_BYTES, Disk, Gauge, shortage
from hive_runtime.errors import BusFull
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.redis_bus import RedisBus, connect

ROOMY = Disk(Path("/"), 10 * DISK_UNTIL_BYTES)


@pytest.mark.parametrize(
    ("used", "draining", "short"), [(84, False, False), (85, False, True), (76, True, True), (74, True, False)]
)
def test_memory_begins_to_be_short_higher_than_it_ends(used: int, draining: bool, short: bool) -> None:  # noqa: FBT001
    assert bool(shortage(Memory(used, 100), ROOMY, draining=draining)) is short


def test_without_a_limit_memory_is_never_short() -> None:
    assert shortage(Memory(10**12, 0), ROOMY, draining=True) == ""


def test_a_disk_that_is_nearly_full_is_named_until_there_is_more_room() -> None:
    path = Path("/somewhere")
    assert "/somewhere has 64 MB left" in shortage(Memory(), Disk(path, DISK_FROM_BYTES - 1), draining=False)
    assert shortage(Memory(), Disk(path, DISK_FROM_BYTES), draining=False) == ""
    assert shortage(Memory(), Disk(path, DISK_UNTIL_BYTES - 1), draining=True)
    assert shortage(Memory(), Disk(path, DISK_UNTIL_BYTES), draining=True) == ""


def test_a_gauge_refuses_what_is_new_and_logs_each_change_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        bus = MemoryBus()
        gauge = Gauge(bus, tmp_path)
        await gauge.look()
        gauge.check()
        bus.room = Memory(used=90, limit=100)
        for _ in range(3):
            await gauge.look()
        with pytest.raises(Draining, match=r"redis\.maxmemory.*goes on by itself"):
            gauge.check()
        bus.room = Memory(used=50, limit=100)
        for _ in range(3):
            await gauge.look()
        gauge.check()

    with capture_logs() as lines:
        asyncio.run(scenario())
    assert [line["event"] for line in lines] == ["drain mode begins", "drain mode ends"]


@pytest.fixture(scope="module")
def unsaved() -> Iterator[RedisServer]:
    """A server whose folder for snapshots can be taken away, upon which it takes no writes: MISCONF."""
    with redis_server("--enable-protected-configs", "yes") as server:
        yield server
        server.kill()  # told to end, it would first insist on saving


def test_readers_of_a_server_that_takes_no_writes_wait_and_go_on(unsaved: RedisServer) -> None:
    """Reading as a group is a write, too."""

    async def scenario() -> None:
        async with (
            aclosing(RedisBus(unsaved.address)) as bus,
            aclosing(connect(unsaved.address)) as redis,
            aclosing(Consumer(bus, "s", "g", "c")) as consumer,
        ):
            await bus.ensure_group("s", "g")
            folder = unsaved.directory / "snapshots"
            folder.mkdir()
            await _cannot_save(redis, folder)
            with pytest.raises(BusFull, match="disk space"):
                await bus.append("s", _envelope())
            with pytest.raises(BusFull, match="disk space"):
                await bus.write(Batch([Append("s", _envelope())]))
            reading = asyncio.ensure_future(consumer.read())
            async with aclosing(bus.reader()) as probe:
                with pytest.raises(BusFull):
                    await probe.read_new("s", "g", "probe", count=1, block_ms=0)
            await redis.config_set("dir", str(unsaved.directory))
            await eventually(lambda: _saved(redis))
            await bus.append("s", _envelope())
            assert len(await asyncio.wait_for(reading, 10)) == 1

    asyncio.run(scenario())


async def _cannot_save(redis: Any, folder: Path) -> None:
    await redis.config_set("dir", str(folder))
    await redis.config_set("save", "3600 1")
    await asyncio.to_thread(folder.rmdir)
    await redis.bgsave()
    await eventually(lambda: _is(redis, "err"))


async def _saved(redis: Any) -> bool:
    with suppress(Exception):
        await redis.bgsave()
    return await _is(redis, "ok")


async def _is(redis: Any, status: str) -> bool:
    return bool((await redis.info("persistence"))["rdb_last_bgsave_status"] == status)


def _envelope() -> Envelope:
    return Envelope(source="test", type="test.event")

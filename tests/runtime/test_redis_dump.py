"""Keys taken out of a server and put into another: whole, of one moment, all or none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.support.redis_server import RedisServer

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.errors import HiveError, Refused
from hive_contracts.messages import SendMessage
from hive_runtime.redis_bus import RedisBus, connect
from hive_runtime.redis_dump import MARK, ROOM, Dumped, RedisDump, dump_all

INBOX = streams.inbox("ada")


async def _fill(redis: RedisServer) -> None:
    """A stream with one entry acknowledged, one pending and one new; a key that goes; keys of one run."""
    async with aclosing(RedisBus(redis.address)) as bus:
        await bus.ensure_group(INBOX, "harness")
        for body in ("one", "two", "three"):
            await bus.append(INBOX, Envelope.of(SendMessage(to="ada", body=body), source="operator"))
    async with _raw(redis) as raw:
        ((_, entries),) = await raw.xreadgroup("harness", "ada", {INBOX: ">"}, count=2)
        await raw.xack(INBOX, "harness", entries[0][0])
        await raw.set(streams.dedup("ada", "k"), "1", px=60_000)
        await raw.set(streams.OWNER, "one")
        await raw.hset(streams.SERVICES, "broker", "{}")
        await raw.set("other:key", "somebody else's")


@asynccontextmanager
async def _raw(redis: RedisServer) -> AsyncIterator[Any]:
    client: Any = connect(redis.address)
    async with aclosing(client):
        yield client


async def _dumped(redis: RedisServer) -> list[Dumped]:
    async with aclosing(RedisDump(redis.address)) as dump, dump.held():
        return [one async for batch in dump_all(dump) for one in batch]


def test_streams_come_back_with_groups_pending_entries_and_time_left(redis: RedisServer) -> None:
    async def scenario() -> None:
        await _fill(redis)
        taken = await _dumped(redis)
        assert [one.key.decode() for one in taken] == [streams.dedup("ada", "k"), INBOX]
        async with _raw(redis) as raw, aclosing(RedisDump(redis.address)) as dump:
            assert not await dump.is_empty(but="another")
            await raw.flushall()
            assert await dump.is_empty(but="another")
            assert await dump.load(taken, backup="b", owner="two") == 2
            assert (await raw.xpending(INBOX, "harness"))["pending"] == 1
            ((_, fresh),) = await raw.xreadgroup("harness", "ada", {INBOX: ">"})
            assert len(fresh) == 1
            assert 0 < await raw.pttl(streams.dedup("ada", "k")) <= 60_000
            assert await raw.get(streams.OWNER) == "two"

    asyncio.run(scenario())


def test_what_was_put_back_may_be_put_back_again_until_it_is_done(redis: RedisServer) -> None:
    async def scenario() -> None:
        await _fill(redis)
        taken = await _dumped(redis)
        async with _raw(redis) as raw, aclosing(RedisDump(redis.address)) as dump:
            await raw.flushall()
            await dump.load(taken, backup="b", owner="two")
            assert await raw.get(MARK) == "b"
            assert await dump.is_empty(but="b")
            assert not await dump.is_empty(but="another")
            await dump.load(taken, backup="b", owner="two")
            await dump.loaded()
            assert not await dump.is_empty(but="b")

    asyncio.run(scenario())


def test_one_key_that_cannot_be_put_back_keeps_all_out_and_the_limits_as_they_were(redis: RedisServer) -> None:
    async def scenario() -> None:
        await _fill(redis)
        taken = await _dumped(redis)
        async with _raw(redis) as raw, aclosing(RedisDump(redis.address)) as dump:
            before = {name: (await raw.config_get(name))[name] for name in ROOM}
            await raw.flushall()
            with pytest.raises(Refused, match="older than the one"):
                await dump.load([*taken, Dumped(b"hive:x", 0, b"\x00\xff\xff\xff" + bytes(8))], backup="b", owner="two")
            assert {name: (await raw.config_get(name))[name] for name in ROOM} == before

    asyncio.run(scenario())


def test_a_value_larger_than_agents_may_write_comes_back(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with _raw(redis) as raw, aclosing(RedisDump(redis.address)) as dump:
            await raw.rpush("hive:large", *("x" * 1000 + str(number) for number in range(20_000)))
            taken = await _dumped(redis)
            await raw.flushall()
            await raw.config_set("proto-max-bulk-len", "1mb")
            await raw.config_set("client-query-buffer-limit", "1mb")
            await dump.load(taken, backup="b", owner="two")
            assert await raw.llen("hive:large") == 20_000

    asyncio.run(scenario())


def test_writes_wait_while_they_are_held_and_reads_do_not(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with _raw(redis) as raw, _raw(redis) as other, aclosing(RedisDump(redis.address)) as dump:
            async with dump.held():
                writing = asyncio.create_task(other.set("hive:k", "1"))
                assert await raw.get("hive:k") is None
                assert await dump.dump([b"hive:k"]) == []
                assert not writing.done()
                assert dump.was_held
            await asyncio.wait_for(writing, 5)
            assert await raw.get("hive:k") == "1"

    asyncio.run(scenario())


def test_a_user_that_may_not_hold_writes_is_told_so(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with _raw(redis) as raw:
            await raw.acl_setuser("weak", enabled=True, nopass=True, keys=["*"], commands=["+@read"])
        async with aclosing(RedisDump(replace(redis.address, username="weak", password="x"))) as dump:
            with pytest.raises(HiveError, match="refused"):
                await dump.hold()

    asyncio.run(scenario())

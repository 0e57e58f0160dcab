"""What only the real server shows: lost replies, a full memory, a wrong password, bytes that are no text."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.errors import Unavailable
from hive_runtime.bus import Ack, Append, Batch, Delivery
from hive_runtime.errors import BusDenied, BusFull, BusLocked, BusUnavailable, NoGroup
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus, connect
from hive_runtime.redis_url import RedisAddress


def envelope(text: str = "x") -> Envelope:
    return Envelope(source="test", type="test.event", data={"text": text})


def _on(redis: RedisServer, scenario: Callable[[RedisBus], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aclosing(RedisBus(redis.address, load_functions=True)) as bus:
            await scenario(bus)

    asyncio.run(run())


@asynccontextmanager
async def _dropping_reply_of(command: bytes, redis: RedisServer) -> AsyncIterator[RedisAddress]:
    """A proxy that passes everything on, but hangs up instead of passing the first reply to `command`."""
    armed = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal armed
        up_reader, up_writer = await asyncio.open_unix_connection(f"{redis.directory}/redis.sock")
        try:
            while request := await reader.read(1 << 16):
                up_writer.write(request)
                reply = await up_reader.read(1 << 16)
                if armed and command in request:
                    armed = False
                    break
                writer.write(reply)
        finally:
            for stream in (writer, up_writer):
                stream.close()

    path = Path(redis.directory) / "proxy.sock"
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield RedisAddress(f"unix://{path}", redis.address.username, redis.address.password)
    finally:
        server.close()


def test_a_lost_reply_never_makes_a_second_delivery(redis: RedisServer) -> None:
    async def scenario() -> None:
        delivery = Delivery("ada", "key", envelope())
        async with _dropping_reply_of(b"FCALL", redis) as address, aclosing(RedisBus(address)) as bus:
            with pytest.raises(BusUnavailable):
                await bus.deliver([delivery])
            assert await bus.depth(streams.inbox("ada")) == 1
            assert await bus.deliver([delivery]) == [False]
            assert await bus.depth(streams.inbox("ada")) == 1

    asyncio.run(scenario())


def test_nothing_is_written_twice_behind_the_callers_back(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with _dropping_reply_of(b"XADD", redis) as address, aclosing(RedisBus(address)) as bus:
            with pytest.raises(BusUnavailable):
                await bus.append("s", envelope())
            assert await bus.depth("s") == 1

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_blocking_read_may_be_longer_than_a_clients_own_time_out(redis: RedisServer) -> None:
    """redis-py gives up a reply after five seconds unless it is told otherwise."""

    async def scenario(bus: RedisBus) -> None:
        await bus.ensure_group("s", "g")
        async with aclosing(bus.reader()) as reader:
            assert await reader.read_new("s", "g", "c", count=1, block_ms=5_500) == []
            entry_id = await bus.append("s", envelope())
            assert [entry.id for entry in await reader.read_new("s", "g", "c", count=1, block_ms=5_500)] == [entry_id]

    _on(redis, scenario)


def test_nobody_answering_is_unavailable(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(RedisAddress(f"unix://{tmp_path}/nowhere.sock"))) as bus:
            with pytest.raises(BusUnavailable, match="does not answer"):
                await bus.ping()

    asyncio.run(scenario())


def test_a_wrong_password_is_said_to_be_one_and_may_be_waited_out(redis: RedisServer) -> None:
    async def scenario() -> None:
        address = RedisAddress(redis.address.url, "admin", "guess")
        async with aclosing(RedisBus(address)) as bus:
            with pytest.raises(BusLocked, match="password") as caught:
                await bus.ping()
        assert isinstance(caught.value, BusDenied)
        assert isinstance(caught.value, Unavailable)
        assert "guess" not in str(caught.value)

    asyncio.run(scenario())


async def _fill(redis: RedisServer) -> None:
    client: Any = connect(redis.address)
    await client.config_set("maxmemory", 1)
    await client.aclose()


def test_a_full_server_says_so_and_can_still_be_emptied(redis: RedisServer) -> None:
    async def scenario(bus: RedisBus) -> None:
        inbox = streams.inbox("ada")
        await bus.ensure_group(inbox, "harness")
        await bus.hash_set(streams.state("ada"), {streams.LEASE_FIELD: "mine"})
        await bus.deliver([Delivery("ada", "k", envelope())])
        await _fill(redis)
        for write in (bus.append("s", envelope()), bus.deliver([Delivery("ada", "k2", envelope())])):
            with pytest.raises(BusFull, match="free memory or disk space"):
                await write
        async with aclosing(bus.reader()) as reader:
            (entry,) = await reader.read_new(inbox, "harness", "ada", count=9, block_ms=0)
        await bus.ack_leased("ada", "mine", [entry.id])
        assert await bus.depth(inbox) == 0

    _on(redis, scenario)


def test_nothing_is_acked_when_what_goes_before_it_was_not_written(redis: RedisServer) -> None:
    async def scenario(bus: RedisBus) -> None:
        await bus.ensure_group("s", "g")
        await bus.append("s", envelope())
        async with aclosing(bus.reader()) as reader:
            (entry,) = await reader.read_new("s", "g", "c", count=1, block_ms=0)
            await _fill(redis)
            with pytest.raises(BusFull):
                await bus.write(Batch([Append("answers", envelope())], [Ack("s", "g", [entry.id], delete=True)]))
            assert len(await reader.read_pending("s", "g", "c", after="0", count=9)) == 1
            assert await bus.depth("s") == 1

    _on(redis, scenario)


def test_bytes_that_are_no_text_do_not_stop_the_reader(redis: RedisServer) -> None:
    async def scenario(bus: RedisBus) -> None:
        await bus.ensure_group("s", "g")
        client: Any = connect(redis.address)
        await client.execute_command("XADD", "s", "*", b"\xff\xfe", b"\xc3\x28")
        await client.aclose()
        await bus.append("s", envelope("after it"))
        async with aclosing(bus.reader()) as reader:
            _, good = await reader.read_new("s", "g", "c", count=9, block_ms=0)
        assert Envelope.decode(good.fields).data == {"text": "after it"}

    _on(redis, scenario)


def test_a_cancellation_is_never_forgotten(redis: RedisServer) -> None:
    """Whenever it comes, and whether the command would have gone well or not (redis-py on Python 3.11 forgets some)."""

    async def scenario(bus: RedisBus) -> None:
        await bus.ensure_group("s", "g")
        async with aclosing(bus.reader()) as reader:
            commands: list[Callable[[], Awaitable[object]]] = [
                bus.ping,
                lambda: bus.ensure_group("s", "g"),
                lambda: bus.write(Batch([Append("t", envelope())])),
                lambda: reader.read_pending("nowhere", "g", "c", after="0", count=1),
                lambda: reader.read_new("nowhere", "g", "c", count=1, block_ms=20_000),
                lambda: reader.read_new("s", "g", "c", count=1, block_ms=20_000),
            ]
            for number, command in enumerate(commands):
                for turns in range(40):
                    assert await _cancelled_after(turns, command), (number, turns)

    _on(redis, scenario)


async def _cancelled_after(turns: int, command: Callable[[], Awaitable[object]]) -> bool:
    """Whether a cancellation after so many turns of the loop took effect, if the command was not done by then."""
    task = asyncio.ensure_future(command())
    for _ in range(turns):
        await asyncio.sleep(0)
    asked = task.cancel()
    await asyncio.wait_for(asyncio.wait({task}), 10)
    return task.cancelled() if asked else task.exception() is None or isinstance(task.exception(), NoGroup)


def test_functions_that_the_server_lost_are_loaded_again(redis: RedisServer) -> None:
    async def scenario(bus: RedisBus) -> None:
        client: Any = connect(redis.address)
        await client.function_flush()
        await client.aclose()
        async with aclosing(RedisBus(redis.address)) as other:
            with pytest.raises(BusUnavailable, match="Function not found"):
                await other.deliver([Delivery("ada", "k", envelope())])
        assert await bus.deliver([Delivery("ada", "k", envelope())]) == [True]

    _on(redis, scenario)


def test_the_administrator_learns_what_server_it_is(redis: RedisServer) -> None:
    async def scenario() -> None:
        async with aclosing(RedisAdmin(redis.address)) as admin:
            facts = await admin.facts()
            assert facts.name.startswith(("Valkey ", "Redis "))
            assert facts.version >= (7, 0)
            assert (await admin.facts()).run_id == facts.run_id

    asyncio.run(scenario())


@pytest.mark.parametrize("steps", range(1, 8))
def test_whoever_is_cancelled_while_closing_leaves_no_connection_open(redis: RedisServer, steps: int) -> None:
    async def scenario() -> None:
        async with aclosing(RedisAdmin(redis.address)) as admin, aclosing(RedisBus(redis.address)) as bus:
            before = (await admin.connections()).total()
            reader = bus.reader()
            await reader.read_after({"stream": "0-0"}, count=1, block_ms=0)
            assert (await admin.connections()).total() == before + 1
            closing = asyncio.ensure_future(reader.aclose())
            for _ in range(steps):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            await eventually(lambda: _are_connected(admin, before))

    asyncio.run(scenario())


async def _are_connected(admin: RedisAdmin, number: int) -> bool:
    return (await admin.connections()).total() == number

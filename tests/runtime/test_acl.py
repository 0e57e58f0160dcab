"""What each Redis user may do, asked of real servers with the very rules that the supervisor gives."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.names import OPERATOR
from hive_runtime import acl
from hive_runtime.bus import Ack, Append, Batch, Delivery, ensure_principal
from hive_runtime.errors import BusDenied, LeaseLost
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus, connect
from hive_runtime.redis_url import RedisAddress

REDIS_7 = Path("/usr/bin/redis-server")
PASSWORD = "secret"

OWN_INBOX, OWN_OUTBOX, OWN_LIVE = streams.inbox("ada"), streams.outbox("ada"), streams.live("ada")
OWN_CONTROL, OWN_STATE = streams.control("ada"), streams.state("ada")

Command = tuple[str | int, ...]


@pytest.fixture(scope="module", params=["embedded", "redis-7.0"])
def hive(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server with the users of two agents, broker and dashboard, and the operator's streams."""
    if request.param != "embedded" and not REDIS_7.exists():
        lacking = f"no {REDIS_7}: `apt-get install redis-server` to hold the rules against Redis 7.0"
        pytest.fail(lacking) if os.environ.get("CI") == "true" else pytest.skip(lacking)
    with redis_server(binary=None if request.param == "embedded" else str(REDIS_7)) as server:
        asyncio.run(_make_users(server))
        yield server


async def _make_users(server: RedisServer) -> None:
    admin, bus = RedisAdmin(server.address), RedisBus(server.address)
    for agent in ("ada", "eve"):
        await admin.set_user(acl.agent_user(agent), acl.agent_rules(agent, PASSWORD))
    await admin.set_user(acl.BROKER, acl.broker_rules(PASSWORD))
    await admin.set_user(acl.DASHBOARD, acl.dashboard_rules(PASSWORD))
    for name in ("ada", "eve", OPERATOR):
        await ensure_principal(bus, name)
    await bus.ensure_group(streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR)
    await admin.save_users()
    await admin.aclose()
    await bus.aclose()


def _address(server: RedisServer, user: str) -> RedisAddress:
    return RedisAddress(server.address.url, user, PASSWORD, client_name=user)


def _as(server: RedisServer, user: str, scenario: Callable[[RedisBus], Awaitable[None]]) -> None:
    async def run() -> None:
        async with aclosing(RedisBus(_address(server, user))) as bus:
            await scenario(bus)

    asyncio.run(run())


def _refused(server: RedisServer, user: str, commands: list[Command]) -> None:
    """Every command must end with NOPERM; all that do not are named at once."""

    async def run() -> dict[Command, str]:
        redis: Any = connect(_address(server, user))
        passed = {command: await _answer(redis, command) for command in commands}
        await redis.aclose()
        return {command: answer for command, answer in passed.items() if answer != "NOPERM"}

    assert asyncio.run(run()) == {}


async def _answer(redis: Any, command: Command) -> str:
    try:
        return str(await redis.execute_command(*command))
    except exceptions.NoPermissionError:
        return "NOPERM"
    except exceptions.ResponseError as error:
        return str(error)


def _read(stream: str, group: str = "harness") -> Command:
    return ("XREADGROUP", "GROUP", group, "ada", "COUNT", 1, "STREAMS", stream, ">")


def envelope(text: str = "x") -> Envelope:
    return Envelope(source="test", type="test.event", data={"text": text})


def _deliver(server: RedisServer, recipient: str, key: str) -> None:
    async def scenario(bus: RedisBus) -> None:
        await bus.deliver([Delivery(recipient, key, envelope())])

    _as(server, acl.BROKER, scenario)


def test_an_agent_reads_and_acks_its_inbox_under_its_lease(hive: RedisServer) -> None:
    _deliver(hive, "ada", "for ada")

    async def scenario(bus: RedisBus) -> None:
        async with aclosing(bus.reader()) as reader:
            (entry,) = await reader.read_new(OWN_INBOX, "harness", "ada", count=10, block_ms=10)
            assert [e.id for e in await reader.read_pending(OWN_INBOX, "harness", "ada", after="0", count=10)] == [
                entry.id
            ]
            await bus.hash_set(OWN_STATE, {streams.LEASE_FIELD: "mine", streams.STATE_FIELD: "{}"})
            with pytest.raises(LeaseLost):
                await bus.ack_leased("ada", "former", [entry.id])
            await bus.ack_leased("ada", "mine", [entry.id])
            assert await bus.depth(OWN_INBOX) == 0

    _as(hive, acl.agent_user("ada"), scenario)


def test_an_agent_keeps_its_lease_alive(hive: RedisServer) -> None:
    async def scenario() -> None:
        redis: Any = connect(_address(hive, acl.agent_user("ada")))
        assert await redis.execute_command("XCLAIM", OWN_INBOX, "harness", "ada", 0, "1-1", "JUSTID") == []
        await redis.aclose()

    asyncio.run(scenario())


def test_an_agent_writes_its_outbox_and_live_stream_and_reads_its_control(hive: RedisServer) -> None:
    async def scenario(bus: RedisBus) -> None:
        await bus.ping()
        await bus.append(OWN_OUTBOX, envelope())
        await bus.write(Batch([Append(OWN_LIVE, envelope()), Append(OWN_LIVE, envelope())]))
        async with aclosing(bus.reader()) as reader:
            (entry,) = await reader.read_new(OWN_CONTROL, "harness", "ada", count=1, block_ms=10)
            await bus.write(Batch(acks=[Ack(OWN_CONTROL, "harness", [entry.id])]))

    _as(hive, acl.BROKER, lambda bus: bus.write(Batch([Append(OWN_CONTROL, envelope())])))
    _as(hive, acl.agent_user("ada"), scenario)


def test_an_agent_touches_nothing_of_its_peer(hive: RedisServer) -> None:
    inbox, outbox, live = streams.inbox("eve"), streams.outbox("eve"), streams.live("eve")
    control, state = streams.control("eve"), streams.state("eve")
    # fmt: off
    _refused(hive, acl.agent_user("ada"), [
        _read(inbox), _read(control), ("XRANGE", inbox, "-", "+"), ("XREAD", "STREAMS", inbox, 0), ("XLEN", inbox),
        ("XREADGROUP", "GROUP", "harness", "ada", "STREAMS", OWN_INBOX, inbox, ">", ">"),
        ("XCLAIM", inbox, "harness", "ada", 0, "1-1"), ("XACK", inbox, "harness", "1-1"), ("XDEL", inbox, "1-1"),
        ("XADD", inbox, "*", "a", "b"), ("XADD", outbox, "*", "a", "b"), ("XADD", live, "*", "a", "b"),
        ("XADD", control, "*", "a", "b"), ("HSET", state, "lease", "x"), ("HGET", state, "lease"), ("HGETALL", state),
        ("FCALL", "hive_ack", 2, inbox, OWN_STATE, "harness", "x", "1-1"),
        ("FCALL", "hive_ack", 2, inbox, state, "harness", "x", "1-1"),
        ("FCALL", "hive_ack", 2, OWN_INBOX, state, "harness", "x", "1-1"),
    ])
    # fmt: on


def test_an_agent_touches_nothing_of_the_operator_or_the_hive(hive: RedisServer) -> None:
    # fmt: off
    _refused(hive, acl.agent_user("ada"), [
        _read(streams.inbox(OPERATOR)), _read(streams.control(OPERATOR)),
        *(("XADD", key, "*", "a", "b") for key in (
            streams.inbox(OPERATOR), streams.outbox(OPERATOR), streams.live(OPERATOR), streams.control(OPERATOR),
            streams.EVENTS, streams.DEAD, streams.COMMANDS_BROKER, streams.COMMANDS_SUPERVISOR, "own:idea",
            "hive:{ada}:outbox2", "hive:{ada}:outbox:x")),
        *(("XREAD", "STREAMS", key, 0) for key in (streams.EVENTS, streams.DEAD, streams.COMMANDS_SUPERVISOR)),
        *(("HGETALL", key) for key in (streams.AGENTS, streams.SERVICES, streams.INFO, streams.state(OPERATOR))),
        *(("HSET", key, "a", "b") for key in (streams.AGENTS, streams.SERVICES, streams.INFO)),
        ("GET", streams.OWNER), ("SET", streams.OWNER, "ada"), ("GET", streams.dedup("ada", "k")),
        ("SET", streams.dedup("ada", "k"), "1-1"),
    ])
    # fmt: on


def test_an_agent_cannot_write_its_inbox_or_read_what_it_only_writes(hive: RedisServer) -> None:
    # fmt: off
    _refused(hive, acl.agent_user("ada"), [
        ("XADD", OWN_INBOX, "*", "a", "b"), ("XADD", OWN_CONTROL, "*", "a", "b"), ("XADD", OWN_STATE, "*", "a", "b"),
        ("XREAD", "STREAMS", OWN_OUTBOX, 0), ("XRANGE", OWN_OUTBOX, "-", "+"), _read(OWN_OUTBOX, "broker"),
        _read(OWN_LIVE, "recorder"), ("XACK", OWN_OUTBOX, "broker", "1-1"), ("XDEL", OWN_OUTBOX, "1-1"),
        ("XDEL", OWN_CONTROL, "1-1"), ("HDEL", OWN_STATE, "container"),
    ])
    # fmt: on


def test_an_agent_has_no_administrators_command(hive: RedisServer) -> None:
    # fmt: off
    _refused(hive, acl.agent_user("ada"), [
        ("KEYS", "*"), ("SCAN", 0), ("RANDOMKEY",), ("DBSIZE",), ("FLUSHALL",), ("FLUSHDB",), ("SAVE",), ("SHUTDOWN",),
        ("EVAL", "return 1", 0), ("EVAL_RO", "return 1", 0), ("SCRIPT", "LOAD", "return 1"),
        ("FUNCTION", "LOAD", "REPLACE", "#!lua name=hive\n"), ("FUNCTION", "LIST"), ("FUNCTION", "FLUSH"),
        ("FUNCTION", "DELETE", "hive"), ("FCALL_RO", "hive_ack", 0), ("FCALL", "hive_deliver", 0),
        ("FCALL", "hive_deliver", 2, OWN_INBOX, streams.dedup("ada", "k"), 60, "a", "b"), ("FCALL", "another", 0),
        ("CONFIG", "GET", "*"), ("CONFIG", "SET", "dir", "/"), ("ACL", "LIST"), ("ACL", "WHOAMI"), ("ACL", "SAVE"),
        ("ACL", "SETUSER", "agent-ada", "+@all"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal"),
        ("MONITOR",), ("INFO",), ("SLOWLOG", "GET"), ("REPLICAOF", "NO", "ONE"),
        ("MODULE", "LIST"), ("SUBSCRIBE", "x"), ("PSUBSCRIBE", "*"), ("PUBLISH", "x", "y"), ("SPUBLISH", "x", "y"),
        *((command, key) for command in ("DEL", "UNLINK", "PERSIST", "DUMP", "TYPE", "EXISTS") for key in (
            OWN_INBOX, OWN_OUTBOX, OWN_LIVE, OWN_CONTROL, OWN_STATE)),
        *(("XTRIM", key, "MAXLEN", 0) for key in (OWN_INBOX, OWN_OUTBOX, OWN_LIVE, OWN_CONTROL)),
        *(("EXPIRE", key, 1) for key in (OWN_INBOX, OWN_OUTBOX)), ("RENAME", OWN_OUTBOX, OWN_INBOX),
        ("COPY", OWN_INBOX, OWN_OUTBOX), ("XGROUP", "DESTROY", OWN_INBOX, "harness"), ("XINFO", "STREAM", OWN_INBOX),
        ("XGROUP", "SETID", OWN_INBOX, "harness", 0), ("XGROUP", "DELCONSUMER", OWN_INBOX, "harness", "ada"),
        ("XGROUP", "CREATE", OWN_INBOX, "second", 0), ("XSETID", OWN_OUTBOX, "1-1"), ("WAIT", 0, 0), ("MULTI",),
        ("XAUTOCLAIM", OWN_INBOX, "harness", "ada", 0, "0-0"),
    ])
    # fmt: on


@pytest.mark.parametrize(
    ("user", "password"),
    [(None, None), ("default", ""), ("default", PASSWORD), ("agent-ada", "guess"), ("agent-x", "")],
)
def test_nobody_gets_in_without_a_user_and_its_password(
    hive: RedisServer, user: str | None, password: str | None
) -> None:
    async def scenario() -> None:
        bus = RedisBus(RedisAddress(hive.address.url, user, password))
        with pytest.raises(BusDenied):
            await bus.ping()
        await bus.aclose()

    asyncio.run(scenario())


def test_the_broker_has_what_its_work_takes(hive: RedisServer) -> None:
    async def scenario(bus: RedisBus) -> None:
        await bus.load_functions()
        await ensure_principal(bus, "new")
        assert await bus.hash_all(streams.AGENTS) == {}
        await bus.hash_set(streams.SERVICES, {"broker": "{}"})
        await bus.last_id(streams.EVENTS)
        entry_id = await bus.append(streams.outbox("new"), envelope())
        async with aclosing(bus.reader()) as reader:
            await reader.read_pending(streams.outbox("new"), "broker", "broker", after="0", count=1)
            await reader.read_new(streams.outbox("new"), "broker", "broker", count=1, block_ms=10)
            await reader.read_after({streams.EVENTS: "0-0"}, count=1, block_ms=1)
            assert await bus.deliver([Delivery("new", "k", envelope())] * 2) == [True, False]
            ack = Ack(streams.outbox("new"), "broker", [entry_id], delete=True)
            await bus.write(
                Batch([Append(streams.control("new"), envelope()), Append(streams.EVENTS, envelope())], [ack])
            )
            assert await bus.depth(streams.outbox("new")) == 0

    _as(hive, acl.BROKER, scenario)


def test_the_broker_is_no_administrator(hive: RedisServer) -> None:
    # fmt: off
    _refused(hive, acl.BROKER, [
        ("KEYS", "*"), ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("EVAL", "return 1", 0),
        ("FUNCTION", "FLUSH"), ("SET", "elsewhere", "x"), ("GET", "elsewhere"), ("SHUTDOWN",), ("MONITOR",),
        ("CLIENT", "KILL", "TYPE", "normal"), ("PUBLISH", "x", "y"), ("REPLICAOF", "NO", "ONE"),
    ])
    # fmt: on


def test_the_dashboard_has_what_its_work_takes(hive: RedisServer) -> None:
    _deliver(hive, OPERATOR, "for the operator")

    async def scenario(bus: RedisBus) -> None:
        await bus.ping()
        await bus.append(streams.outbox(OPERATOR), envelope())
        await bus.append(streams.live(OPERATOR), envelope())
        await bus.append(streams.COMMANDS_SUPERVISOR, envelope())
        await bus.append(OWN_CONTROL, envelope())
        await bus.append(streams.EVENTS, envelope())
        for key in (streams.AGENTS, streams.SERVICES, streams.INFO, OWN_STATE):
            await bus.hash_all(key)
        await bus.hash_set(streams.SERVICES, {"dashboard": "{}"})
        await bus.hash_set(streams.state(OPERATOR), {streams.LEASE_FIELD: "d", "seen": "now"})
        for name in ("ada", OPERATOR):
            await bus.last_id(streams.live(name))
            await bus.depth(streams.inbox(name))
        await _read_everywhere(bus)

    _as(hive, acl.DASHBOARD, scenario)


async def _read_everywhere(bus: RedisBus) -> None:
    async with aclosing(bus.reader()) as reader:
        await reader.read_after(
            {streams.EVENTS: "0-0", OWN_LIVE: "0-0", streams.live("eve"): "0-0"}, count=9, block_ms=1
        )
        for stream in (streams.inbox(OPERATOR), streams.control(OPERATOR)):
            await bus.ensure_group(stream, "harness")
            await reader.read_pending(stream, "harness", "dashboard", after="0", count=9)
        entries = await reader.read_new(streams.inbox(OPERATOR), "harness", "dashboard", count=9, block_ms=1)
        await bus.ack_leased(OPERATOR, "d", [entry.id for entry in entries])
        assert await bus.depth(streams.inbox(OPERATOR)) == 0
        control = await bus.append(streams.control(OPERATOR), envelope())
        await bus.write(Batch(acks=[Ack(streams.control(OPERATOR), "harness", [control])]))


def test_the_dashboard_speaks_for_nobody_but_the_operator(hive: RedisServer) -> None:
    # fmt: off
    _refused(hive, acl.DASHBOARD, [
        *(("XADD", key, "*", "a", "b") for key in (OWN_OUTBOX, OWN_INBOX, OWN_LIVE, streams.DEAD)),
        _read(OWN_INBOX), _read(OWN_OUTBOX, "broker"), ("XACK", OWN_INBOX, "harness", "1-1"),
        ("XDEL", OWN_INBOX, "1-1"), ("XTRIM", OWN_INBOX, "MAXLEN", 0), ("DEL", OWN_INBOX), ("DEL", streams.AGENTS),
        ("HSET", streams.AGENTS, "a", "b"), ("HSET", streams.INFO, "a", "b"), ("HSET", OWN_STATE, "lease", "x"),
        ("HDEL", streams.AGENTS, "ada"), ("SET", streams.OWNER, "x"), ("XTRIM", streams.EVENTS, "MAXLEN", 0),
        ("XDEL", streams.COMMANDS_SUPERVISOR, "1-1"), ("XGROUP", "DESTROY", OWN_INBOX, "harness"),
        ("FUNCTION", "LOAD", "REPLACE", "#!lua name=hive\n"), ("FUNCTION", "FLUSH"), ("EVAL", "return 1", 0),
        ("FCALL", "hive_deliver", 2, OWN_INBOX, streams.dedup("ada", "k"), 60, "a", "b"),
        ("FCALL", "hive_deliver", 2, streams.inbox(OPERATOR), streams.dedup(OPERATOR, "k"), 60, "a", "b"),
        ("FCALL", "hive_ack", 2, OWN_INBOX, OWN_STATE, "harness", "x", "1-1"),
        ("KEYS", "*"), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("PUBLISH", "x", "y"), ("SHUTDOWN",),
        ("GET", "elsewhere"), ("CLIENT", "LIST"), ("MONITOR",),
    ])
    # fmt: on


def test_users_outlive_the_server(redis: RedisServer) -> None:
    asyncio.run(_make_users(redis))
    redis.kill()
    redis.start()
    _as(redis, acl.agent_user("ada"), lambda bus: bus.ping())

"""Everything that a hostile agent could say to the server, by the server's own list of commands.

The list comes from the server, so a command that a later version adds is refused until somebody allows it here.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest
from redis import exceptions
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.names import OPERATOR
from hive_runtime import acl
from hive_runtime.bus import Delivery, ensure_principal
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus, connect
from hive_runtime.redis_url import RedisAddress

REDIS_7: Final = Path("/usr/bin/redis-server")
PASSWORD: Final = "secret"

ITS_CONNECTION: Final = {"auth", "client|setname", "hello", "ping", "quit", "reset"}
"""These touch no key and nobody else's connection. `auth` and `hello` want a password; `quit` and `reset` let go."""

OFF: Final = {"debug", "module|load", "module|loadex", "module|unload"}
"""Nobody has these: the server's configuration says so before it looks at the user."""

MAY: Final = {
    "xreadgroup": {streams.inbox("ada"), streams.control("ada")},
    "xclaim": {streams.inbox("ada")},
    "xlen": {streams.inbox("ada")},
    "xack": {streams.inbox("ada"), streams.control("ada"), streams.state("ada")},
    "xadd": {streams.outbox("ada"), streams.live("ada"), streams.screen("ada")},
    "xread": {streams.keys("ada")},
    "xdel": {streams.inbox("ada"), streams.state("ada")},
    "hset": {streams.state("ada")},
    "hget": {streams.inbox("ada"), streams.state("ada")},
}
"""Command → keys. The function hive_ack runs with the agent's rights and takes inbox and state: hence four odd pairs,
which the server answers with WRONGTYPE."""

PARTS: Final = (
    streams.inbox,
    streams.outbox,
    streams.control,
    streams.live,
    streams.state,
    streams.keys,
    streams.screen,
)
KEYS: Final = (
    *(part(name) for name in ("ada", "eve", OPERATOR, "hm1nd", "*", "ad?", "[a-z]da") for part in PARTS),
    *(streams.dedup(name, "k") for name in ("ada", "eve")),
    *(streams.EVENTS, streams.DEAD, streams.COMMANDS_BROKER, streams.COMMANDS_SUPERVISOR),
    *(streams.AGENTS, streams.SERVICES, streams.INFO, streams.OWNER, streams.RETENTION),
    *("own:idea", "hive:{ada}:outbox2", "hive:{ada}:inbox:x", "hive:ada:outbox", "", "\x00"),
)


@pytest.fixture(scope="module", params=["embedded", "redis-7.0"])
def hive(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A server with two agents, and something in every one of their streams."""
    if request.param != "embedded" and not REDIS_7.exists():
        lacking = f"no {REDIS_7}: `apt-get install redis-server` to hold the rules against Redis 7.0"
        pytest.fail(lacking) if os.environ.get("CI") == "true" else pytest.skip(lacking)
    with redis_server(binary=None if request.param == "embedded" else str(REDIS_7)) as server:
        asyncio.run(_furnish(server))
        yield server


async def _furnish(server: RedisServer) -> None:
    async with aclosing(RedisAdmin(server.address)) as admin, aclosing(RedisBus(server.address)) as bus:
        for name in ("ada", "eve", OPERATOR):
            await ensure_principal(bus, name)
            await bus.deliver([Delivery(name, "k", Envelope(source="test", type="test.event"))])
            await bus.hash_set(streams.state(name), {streams.LEASE_FIELD: "its own"})
        for name in ("ada", "eve"):
            await admin.set_user(acl.agent_user(name), acl.agent_rules(name, PASSWORD))


Ask = Callable[..., Awaitable[str]]


def as_ada(server: RedisServer, scenario: Callable[[Ask], Awaitable[None]]) -> None:
    """Run it with ada's real credential. Its `ask` sends a command and returns its error, or `DONE`."""

    async def run() -> None:
        redis: Any = connect(RedisAddress(server.address.url, acl.agent_user("ada"), PASSWORD))

        async def ask(*words: str | int) -> str:
            try:
                await redis.execute_command(*words)
            except (exceptions.NoPermissionError, exceptions.ExecAbortError):
                return "NOPERM"
            except (exceptions.ResponseError, exceptions.AuthenticationError) as error:
                return str(error)
            return "DONE"

        async with aclosing(redis):
            await scenario(ask)

    asyncio.run(run())


async def every_command(server: RedisServer) -> dict[str, int]:
    """Name, as `acl|list` for a subcommand → the number of words it takes at least, its name's included."""
    redis: Any = connect(server.address)
    async with aclosing(redis):
        redis.response_callbacks.clear()  # redis-py would keep only some columns
        found = {}
        for row in await redis.execute_command("COMMAND"):
            for name, arity, *_ in (row, *(row[9] if len(row) > 9 else ())):
                found[str(name)] = abs(int(arity))
    return found


async def whole_state(server: RedisServer) -> dict[str, str]:
    """Key → what is in it."""
    async with aclosing(connect(server.address)) as redis:
        keys = sorted([key async for key in redis.scan_iter()])
        return {key: str(await redis.dump(key)) for key in keys}


def test_every_command_that_is_not_on_the_short_list_is_refused(hive: RedisServer) -> None:
    allowed = ITS_CONNECTION | MAY.keys() | {"fcall"}

    async def scenario(ask: Ask) -> None:
        commands = await every_command(hive)
        assert allowed - {"quit"} <= commands.keys()
        assert len(commands) > 300
        passed = {}
        for name, words in commands.items():
            if name in allowed or any(name.startswith(f"{it}|") for it in allowed):
                continue
            own = name.split("|")
            answer = await ask(*own, *[streams.inbox("ada")] * max(0, words - len(own)))
            if answer != "NOPERM" and name not in OFF and not _only_holds(name, commands):
                passed[name] = answer
            assert answer != "DONE", name
        assert passed == {}

    as_ada(hive, scenario)


def _only_holds(name: str, commands: dict[str, int]) -> bool:
    """It does nothing itself: the name is the head of subcommands, and they are asked each by itself."""
    return any(other.startswith(f"{name}|") for other in commands)


@pytest.mark.parametrize("name", MAY)
def test_a_command_on_the_list_works_on_its_own_keys_and_on_no_other(name: str, hive: RedisServer) -> None:
    forms: dict[str, Callable[[str], tuple[str | int, ...]]] = {
        "xreadgroup": lambda key: ("GROUP", "harness", "ada", "COUNT", 1, "STREAMS", key, ">"),
        "xclaim": lambda key: (key, "harness", "ada", 0, "1-1"),
        "xack": lambda key: (key, "harness", "1-1"),
        "xadd": lambda key: (key, "NOMKSTREAM", "*", "a", "b"),
        "xread": lambda key: ("COUNT", 1, "STREAMS", key, "0"),
        "xdel": lambda key: (key, "1-1"),
        "hset": lambda key: (key, "a", "b"),
        "hget": lambda key: (key, "a"),
        "xlen": lambda key: (key,),
    }

    async def scenario(ask: Ask) -> None:
        got = {key for key in KEYS if await ask(name, *forms[name](key)) != "NOPERM"}
        assert got == MAY[name]

    as_ada(hive, scenario)


def test_of_the_functions_only_its_own_ack_runs_and_on_its_own_keys_only(hive: RedisServer) -> None:
    async def scenario(ask: Ask) -> None:
        inbox, state = streams.inbox("ada"), streams.state("ada")
        assert "FENCED" in await ask("FCALL", "hive_ack", 2, inbox, state, "harness", "not the lease", "1-1")
        for key in KEYS:
            for keys in ((key, state), (inbox, key)):
                refused = await ask("FCALL", "hive_ack", 2, *keys, "harness", "x", "1-1") == "NOPERM"
                assert refused == (key not in {inbox, state}), keys
        for function in ("hive_deliver", "hive_trim", "hive_done", "", "hive", "hive_ack2"):
            assert await ask("FCALL", function, 1, inbox, "x") == "NOPERM", function
        assert await ask("FCALL_RO", "hive_ack", 2, inbox, state) == "NOPERM"

    as_ada(hive, scenario)


def test_it_leaves_the_one_database_of_the_hive_under_no_name(hive: RedisServer) -> None:
    async def scenario(ask: Ask) -> None:
        for number in range(16):
            assert await ask("SELECT", number) == "NOPERM"
        assert await ask("SWAPDB", 0, 1) == "NOPERM"
        assert await ask("MOVE", streams.inbox("ada"), 1) == "NOPERM"

    as_ada(hive, scenario)


def test_another_user_cannot_be_put_on_without_its_password(hive: RedisServer) -> None:
    async def scenario(ask: Ask) -> None:
        for user in (acl.agent_user("eve"), acl.BROKER, acl.DASHBOARD, acl.SUPERVISOR, "default", "admin"):
            for password in ("", "x", acl.password_rule(PASSWORD), acl.password_rule(PASSWORD)[1:]):
                assert "invalid username-password pair" in await ask("AUTH", user, password)
                assert "invalid username-password pair" in await ask("HELLO", 3, "AUTH", user, password)
        assert await ask("XLEN", streams.inbox("ada")) == "DONE"

    as_ada(hive, scenario)


def test_a_connection_that_was_reset_is_nobody(hive: RedisServer) -> None:
    """RESET goes back to the default user, which is closed."""

    async def run() -> str:
        reader, writer = await asyncio.open_unix_connection(hive.address.url.removeprefix("unix://"))
        writer.write(f"AUTH {acl.agent_user('ada')} {PASSWORD}\r\nRESET\r\nPING\r\n".encode())
        replies = [(await reader.readline()).decode().strip() for _ in range(3)]
        writer.close()
        return replies[2]

    assert asyncio.run(run()).startswith("-NOAUTH")


@pytest.mark.slow
def test_all_those_attempts_changed_nothing_of_anybody(hive: RedisServer) -> None:
    before = asyncio.run(whole_state(hive))

    async def scenario(ask: Ask) -> None:
        for name, words in (await every_command(hive)).items():
            if name.partition("|")[0] in ITS_CONNECTION | MAY.keys():
                continue
            for key in (streams.inbox("eve"), streams.outbox(OPERATOR), streams.EVENTS):
                await ask(*name.split("|"), *[key] * max(0, words - 1 - name.count("|")))

    as_ada(hive, scenario)
    assert asyncio.run(whole_state(hive)) == before


def test_a_hive_in_another_database_can_choose_that_one_and_no_other(redis: RedisServer) -> None:
    async def run() -> None:
        address = RedisAddress(f"{redis.address.url}?db=3", redis.address.username, redis.address.password)
        async with aclosing(RedisAdmin(address)) as admin:
            rules = acl.agent_rules("ada", PASSWORD, database=admin.database)
            await admin.set_user(acl.agent_user("ada"), rules)
        ada: Any = connect(RedisAddress(address.url, acl.agent_user("ada"), PASSWORD))
        async with aclosing(ada):
            await ada.xadd(streams.outbox("ada"), {"a": "b"})
            for number in (0, 1, 2, 4):
                with pytest.raises(exceptions.NoPermissionError):
                    await ada.execute_command("SELECT", number)

    asyncio.run(run())

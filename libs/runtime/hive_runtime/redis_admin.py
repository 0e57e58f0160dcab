"""What only an administrator of the Redis server does: users, what they use of it, facts about the server itself."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from hive_contracts import streams
from hive_runtime.errors import BusDenied, BusUnavailable
from hive_runtime.redis_bus import call, connect, load_functions
from hive_runtime.redis_sentinel import replicas
from hive_runtime.redis_url import RedisAddress

MINIMUM_VERSION: Final = (7, 0)
"""Valkey says 7.2.4 here, whatever its own number is."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`run_id` changes with every start of the server. `name` is for people: `Valkey 9.1.2`, `Redis 7.0.15`."""

    run_id: str
    version: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Setup:
    """How the server is set, for who looks after it. `appendonly` None: it does not say, as managed ones do not.

    `is_open`: anybody gets in without a password. `time` is its clock's, in seconds since 1970."""

    appendonly: bool | None
    aof_failed: bool
    appendfsync: str
    maxmemory: int
    maxmemory_policy: str
    used_memory: int
    is_open: bool
    time: float


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the server. `passwords`: their hashes. `rights`: in the server's own words, to be compared with others
    of the same server."""

    enabled: bool
    no_password: bool
    passwords: frozenset[str]
    rights: str


@dataclass(frozen=True, slots=True)
class Pressure:
    """How full the server is: bytes in use, clients' buffers included, and open connections."""

    memory: int
    connections: int


@dataclass(frozen=True, slots=True)
class Load:
    """What a key holds, in bytes and entries. `added`: entries ever, None while the server is not sure."""

    size: int = 0
    length: int = 0
    added: int | None = None
    consumers: int = 0

    @property
    def mean(self) -> float:
        """Bytes of an entry."""
        return self.size / max(1, self.length)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one principal holds."""

    outbox: Load
    live: Load
    inbox: Load
    control: Load
    state: Load
    screen: Load
    keys: Load

    @property
    def size(self) -> int:
        own = self.outbox, self.live, self.inbox, self.control, self.state, self.screen, self.keys
        return sum(load.size for load in own)


WIPE_PAUSE_S: Final = 0.5

PARTS: Final = (
    streams.outbox,
    streams.live,
    streams.inbox,
    streams.control,
    streams.state,
    streams.screen,
    streams.keys,
)
"""The keys of a principal, in the order of `Footprint`."""


PROBE_USER: Final = "hive-probe"


class RedisAdmin:
    """Every method raises `BusUnavailable`, `BusFull` or `BusDenied`. `database`: the one that the hive is in."""

    def __init__(self, address: RedisAddress) -> None:
        self.database = address.database
        self._address = address
        self._redis: Any = connect(address)
        self._replicas: dict[tuple[str, int], Any] = {}

    async def facts(self) -> ServerFacts:
        info = await self._run("INFO", "server")
        version = str(info["redis_version"])
        own = info.get("valkey_version")
        name = f"Valkey {own}" if own else f"Redis {version}"
        return ServerFacts(str(info["run_id"]), tuple(int(part) for part in version.split(".")[:2]), name)

    async def setup(self) -> Setup:
        memory = await self._run("INFO", "memory")
        kept = await self._run("INFO", "persistence")
        seconds, microseconds = await self._run("TIME")
        return Setup(
            appendonly=bool(int(kept["aof_enabled"])) if "aof_enabled" in kept else None,
            aof_failed="err" in (kept.get("aof_last_write_status"), kept.get("aof_last_bgrewrite_status")),
            appendfsync=await self._option("appendfsync"),
            maxmemory=int(memory.get("maxmemory", 0)),
            maxmemory_policy=str(memory.get("maxmemory_policy", "")),
            used_memory=int(memory["used_memory"]),
            is_open=await self.is_open(),
            time=int(seconds) + int(microseconds) / 1e6,
        )

    async def _option(self, name: str) -> str:
        """Empty where the server does not say."""
        try:
            return str((await self._run("CONFIG GET", name)).get(name, ""))
        except (BusUnavailable, BusDenied):
            return ""

    async def set_user(self, name: str, rules: Sequence[str]) -> None:
        """Make the user, or give it exactly these rules. They hold at once, for open connections too."""
        words = [word for rule in rules for word in _words(rule)]
        await self._everywhere("ACL SETUSER", name, *words)

    async def delete_user(self, name: str) -> None:
        await self._everywhere("ACL DELUSER", name)

    async def replicas(self) -> frozenset[str]:
        """The runs of the replicas that let us in: another set of them lacks users. Empty without Sentinel."""
        found = set()
        for redis in await self._reach_replicas():
            with suppress(BusUnavailable, BusDenied):
                found.add(str((await call(redis.execute_command("INFO", "server")))["run_id"]))
        return frozenset(found)

    async def is_open(self) -> bool:
        """Whether anybody gets in without a password, as the default user."""
        flags = (await self._run("ACL GETUSER", "default"))["flags"]
        return "on" in flags and "nopass" in flags

    async def users(self) -> list[str]:
        """The names of all users."""
        return [str(name) for name in await self._run("ACL USERS")]

    async def users_of_replicas(self) -> dict[str, frozenset[str]]:
        """Of those that let us in, by `host:port`. Empty without Sentinel."""
        found = {}
        for place in await call(replicas(self._redis)):
            (redis,) = self._at([place])
            with suppress(BusUnavailable, BusDenied):
                names = await call(redis.execute_command("ACL USERS"))
                found[f"{place[0]}:{place[1]}"] = frozenset(str(name) for name in names)
        return found

    async def account(self, name: str) -> Account | None:
        """None when there is no such user."""
        found = await self._run("ACL GETUSER", name)
        return _account(found) if found else None

    async def rights(self, rules: Sequence[str]) -> str:
        """What `Account.rights` of a user with these rules would be: a server words them in its own way.

        For the look there is such a user, which nobody can use.
        """
        user = f"{PROBE_USER}-{secrets.token_hex(4)}"
        await self._run("ACL SETUSER", user, *(word for rule in rules for word in _words(rule)), "off", "resetpass")
        try:
            return _account(await self._run("ACL GETUSER", user)).rights
        finally:
            await self._run("ACL DELUSER", user)

    async def disconnect(self, user: str) -> None:
        """End every connection of that user but this one. `default` stands for all that have not logged in, too."""
        await self._everywhere("CLIENT KILL", "USER", user, "SKIPME", "yes")

    async def reconnect(self) -> None:
        """End this object's own connections; the next command logs in anew."""
        for redis in (self._redis, *self._replicas.values()):
            await redis.connection_pool.disconnect()

    async def pressure(self) -> Pressure:
        info = await self._run("INFO", "memory", "clients")
        return Pressure(int(info["used_memory"]), int(info["connected_clients"]))

    async def connections(self) -> Counter[str]:
        """User → open connections."""
        return Counter(client["user"] for client in await self._run("CLIENT LIST"))

    async def loads(self, names: Sequence[str]) -> list[Footprint]:
        """What each of these principals holds, exactly: who writes it could lead an estimate by samples astray."""
        try:
            return await self._loads(names)
        except BusUnavailable as error:
            if "Function not found" not in str(error):
                raise
        await load_functions(self._redis)
        return await self._loads(names)

    async def _loads(self, names: Sequence[str]) -> list[Footprint]:
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            keys = [part(name) for part in PARTS]
            pipeline.execute_command("FCALL_RO", "hive_load", len(keys), *keys)
        return [_footprint(numbers) for numbers in await call(pipeline.execute())]

    async def keep_newest(self, stream: str, number: int) -> None:
        await self._run("XTRIM", stream, "MAXLEN", str(number))

    async def forget_group(self, stream: str, group: str) -> None:
        """With all its consumers, and with what it knew of who has what."""
        await self._run("XGROUP DESTROY", stream, group)

    async def delete(self, *keys: str) -> None:
        """Freed aside, so that nobody waits for a large one."""
        await self._run("UNLINK", *keys)

    async def without_group(self, keys: Sequence[str], group: str) -> list[str]:
        """Those of these streams that are not there, or lack the group."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.xinfo_groups(key)
        replies = await call(pipeline.execute(raise_on_error=False)) if keys else []
        return [key for key, reply in zip(keys, replies, strict=True) if not _has(reply, group)]

    async def wipe(self, name: str) -> None:
        """Every key of a principal, until none comes back: a reader that is just ending may make one again."""
        while keys := [key async for key in self._keys(f"hive:{{{name}}}:*")]:
            await self.delete(*keys)
            await asyncio.sleep(WIPE_PAUSE_S)

    async def _keys(self, pattern: str) -> AsyncIterator[str]:
        cursor = 0
        while True:
            cursor, keys = await call(self._redis.scan(cursor, match=pattern, count=1000))
            for key in keys:
                yield str(key)
            if not cursor:
                return

    async def flush(self) -> None:
        """Lose all data, users excepted."""
        await self._run("FLUSHALL")

    async def save_users(self) -> None:
        """Keep the users over a restart, where the server has a file for them; else they are made again."""
        try:
            await self._everywhere("ACL SAVE")
        except BusUnavailable as error:
            if "ACL file" not in str(error):
                raise

    async def aclose(self) -> None:
        for redis in (self._redis, *self._replicas.values()):
            await redis.aclose()

    async def _everywhere(self, *words: str) -> None:
        """Users are not replicated. A replica that is away, or does not let us in, gets them when it is seen again."""
        await self._run(*words)
        for redis in await self._reach_replicas():
            with suppress(BusUnavailable, BusDenied):
                await call(redis.execute_command(*words))

    async def _reach_replicas(self) -> list[Any]:
        return self._at(await call(replicas(self._redis)))

    def _at(self, places: Sequence[tuple[str, int]]) -> list[Any]:
        for host, port in places:
            if (host, port) not in self._replicas:
                shown = f"[{host}]" if ":" in host else host
                there = replace(self._address, url=f"redis://{shown}:{port}/{self.database}")
                self._replicas[host, port] = connect(there)
        return [self._replicas[place] for place in places]

    async def _run(self, *words: str) -> Any:
        return await call(self._redis.execute_command(*words))


def _has(reply: Any, group: str) -> bool:
    return not isinstance(reply, Exception) and any(found["name"] == group for found in reply)


def _account(found: Mapping[str, Any]) -> Account:
    flags = found["flags"]
    words = {key: found.get(key) for key in ("categories", "commands", "keys", "channels", "selectors")}
    return Account("on" in flags, "nopass" in flags, frozenset(found["passwords"]), json.dumps(words))


def _words(rule: str) -> list[str]:
    """A rule as the server takes it: a selector in parentheses is one word, others are split at blanks."""
    return [rule] if rule.startswith("(") else rule.split()


def _footprint(numbers: Sequence[int]) -> Footprint:
    return Footprint(*(_load(*numbers[at : at + 4]) for at in range(0, len(numbers), 4)))


def _load(size: int, length: int, added: int, consumers: int) -> Load:
    return Load(size, length, added if added >= 0 else None, consumers)

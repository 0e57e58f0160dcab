"""Taking a hive's keys out of a server as they are, and putting them into an empty one.

DUMP and RESTORE carry streams whole: entries, groups, and who holds what. They work on any server, also one whose disk
is out of reach; a server refuses what a newer one dumped.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from hive_contracts import streams
from hive_contracts.errors import HiveError, Refused
from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_bus import call, connect
from hive_runtime.redis_url import RedisAddress

PATTERN: Final = "hive:*"
MARK: Final = "hive:restoring"
"""While keys are put back: which backup they are of."""

OF_THE_RUN: Final = frozenset(
    key.encode() for key in (streams.SERVICES, streams.BROKERS, streams.INFO, streams.CREDENTIALS, streams.OWNER, MARK)
)
"""Keys of one run, one server or one set of passwords; nothing in them is worth keeping."""

TIMEOUT_S: Final = 60.0
HOLD_MS: Final = 10_000
"""A pause that nobody ends is over by then, should this process be killed."""

BATCH: Final = 20
FOR_GOOD: Final = -1
"""What PTTL says of a key that stays."""

ROOM: Final = {
    "proto-max-bulk-len": "512mb",
    "client-query-buffer-limit": "1gb",
    "maxmemory-clients": "0",
}
"""What a server must take at once while keys are put back; a hive's own lets agents have far less."""


@dataclass(frozen=True, slots=True)
class Dumped:
    """`ttl_ms` 0: for good."""

    key: bytes
    ttl_ms: int
    value: bytes


class RedisDump:
    """Methods raise `BusUnavailable` and `BusDenied`."""

    def __init__(self, address: RedisAddress) -> None:
        self._redis: Any = connect(address, timeout_s=TIMEOUT_S, decode=False)
        self._until = 0.0
        self._lapsed = False

    async def aclose(self) -> None:
        await self._redis.aclose()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nobody's write is carried out meanwhile: each waits, and goes on afterwards. Reads are answered."""
        await self.hold()
        try:
            yield
        finally:
            with suppress(HiveError):
                await self._run("CLIENT", "UNPAUSE")

    async def hold(self) -> None:
        """Hold writes back for `HOLD_MS` from now on; to be said again by whoever takes longer."""
        now = time.monotonic()
        self._lapsed |= bool(self._until) and now > self._until
        await self._run("CLIENT", "PAUSE", HOLD_MS, "WRITE")
        self._until = now + HOLD_MS / 1000

    @property
    def was_held(self) -> bool:
        """Whether writes were held without a gap since the first `hold`, and still are."""
        return not self._lapsed and time.monotonic() < self._until

    async def keys(self) -> list[bytes]:
        """The hive's, in order. Those that come and go with a run are left out."""
        found: set[bytes] = set()
        cursor = 0
        while True:
            cursor, keys = await call(self._redis.scan(cursor, match=PATTERN, count=1000))
            found.update(keys)
            if not int(cursor):
                return sorted(found - OF_THE_RUN)

    async def dump(self, keys: Sequence[bytes]) -> list[Dumped]:
        """Those that are still there."""
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.pttl(key)
            pipeline.dump(key)
        replies = await call(pipeline.execute())
        rows = zip(keys, replies[::2], replies[1::2], strict=True)
        return [
            Dumped(key, 0 if ttl == FOR_GOOD else max(1, ttl), value) for key, ttl, value in rows if value is not None
        ]

    async def is_empty(self, *, but: str) -> bool:
        """Whether it holds no hive; what an interrupted restoring of the backup `but` left does not count."""
        if await self._run("GET", MARK) == but.encode():
            return True
        return not await self.keys() and not await self._run("EXISTS", streams.OWNER)

    async def load(self, dumped: Iterable[Dumped], *, backup: str, owner: str) -> int:
        """All of them, or none; how many. Whoever is killed just after it may do it again, until `loaded` is called."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.execute_command("SET", MARK, backup)
        pipeline.execute_command("SET", streams.OWNER, owner)
        count = 0
        for one in dumped:
            pipeline.execute_command("RESTORE", one.key, one.ttl_ms, one.value, "REPLACE")
            count += 1
        before = await self._make_room()
        try:
            await call(pipeline.execute())
        except BusUnavailable as error:
            if "Bad data format" in str(error) or "checksum" in str(error):
                raise Refused(
                    "this Redis is older than the one that the backup was made from; use one as new"
                ) from error
            raise
        finally:
            await self._set(before)
        return count

    async def loaded(self) -> None:
        await self._run("DEL", MARK)

    async def _make_room(self) -> dict[str, str]:
        """What was set before; a server that does not let itself be set has its own limits."""
        before: dict[str, str] = {}
        for name in ROOM:
            with suppress(HiveError):
                found = await self._run("CONFIG", "GET", name)
                before |= {_text(key): _text(value) for key, value in found.items()}
        await self._set({name: ROOM[name] for name in before})
        return before

    async def _set(self, options: dict[str, str]) -> None:
        for name, value in options.items():
            with suppress(HiveError):
                await self._run("CONFIG", "SET", name, value)

    async def _run(self, *words: object) -> Any:
        return await call(self._redis.execute_command(*words))


async def dump_all(dump: RedisDump) -> AsyncIterator[list[Dumped]]:
    """In batches; within `held`, of one moment. The pause is kept up for as long as it takes."""
    keys = await dump.keys()
    for start in range(0, len(keys), BATCH):
        await dump.hold()
        yield await dump.dump(keys[start : start + BATCH])
        await asyncio.sleep(0)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value

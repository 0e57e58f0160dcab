"""Trimming streams without losing an entry that somebody still needs, and without making anybody wait.

One XTRIM of a million entries stalls every client for a tenth of a second, and it takes pending entries along. So
the server-side `hive_trim` looks up the lowest id that is not done and trims below it, some thousands a call.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from hive_contracts.errors import HiveError
from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_bus import call, connect, load_functions
from hive_runtime.redis_url import RedisAddress
from hive_runtime.trim import TRIM_LIMIT, TrimRule

PAUSE_S: Final = 0.001

COUNT_LIMIT: Final = 200
"""Entries looked at in one call of a dry run; they may be large, and each is read whole."""

ALL_KEYS: Final = "hive:*"


class StreamTrimmer:
    """`Trimmer` on a server; `trim_some` is one call of it."""

    def __init__(self, address: RedisAddress) -> None:
        self._redis: Any = connect(address)

    async def streams(self) -> list[str]:
        """The names of all of the hive's streams, whoever they belong to."""
        found: set[str] = set()
        cursor = 0
        while True:
            cursor, keys = await call(self._redis.scan(cursor, match=ALL_KEYS, count=1000, _type="stream"))
            found.update(str(key) for key in keys)
            if not cursor:
                return sorted(found)

    async def length(self, stream: str) -> int:
        return int(await call(self._redis.xlen(stream)))

    async def size(self, stream: str) -> int:
        """Its memory in bytes, as the server estimates it; 0 where the server does not say."""
        try:
            return int(await call(self._redis.memory_usage(stream)) or 0)
        except BusUnavailable:
            raise
        except HiveError:
            return 0

    async def trim_some(self, stream: str, rule: TrimRule) -> int:
        """Delete up to `TRIM_LIMIT` entries; 0 when there is nothing more to delete."""
        return int(await self._function("hive_trim", stream, rule.below, rule.keep, TRIM_LIMIT, *rule.groups))

    async def trim(self, stream: str, rule: TrimRule) -> AsyncIterator[int]:
        """Delete all that may go; yields how much each call did, and leaves the server to others after each."""
        while some := await self.trim_some(stream, rule):
            yield some
            await asyncio.sleep(PAUSE_S)

    async def count_done(self, stream: str, rule: TrimRule) -> int:
        """How many entries `trim_some`, repeated, would delete now."""
        spare = await self.length(stream) - rule.keep
        total, after = 0, "0-0"
        while total < spare:
            number, after = await self._function("hive_done", stream, rule.below, after, COUNT_LIMIT, *rule.groups)
            if not number:
                break
            total += int(number)
        return max(0, min(total, spare))

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _function(self, name: str, stream: str, *args: str | int) -> Any:
        try:
            return await call(self._redis.fcall(name, 1, stream, *args))
        except BusUnavailable as error:
            if "Function not found" not in str(error):
                raise
        await load_functions(self._redis)
        return await call(self._redis.fcall(name, 1, stream, *args))

"""What the streams of the hive under test still hold that somebody should have taken."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final

from hive_contracts import streams
from hive_contracts.names import OPERATOR
from hive_runtime.redis_bus import call, connect
from hive_runtime.redis_url import RedisAddress

MUST_BE_EMPTY: Final = (streams.outbox, streams.inbox)
MUST_BE_TAKEN: Final = (streams.control, streams.live)
"""Their entries stay for a while after everyone had them."""


async def leftovers(address: RedisAddress, agents: Sequence[str]) -> list[str]:
    """One line for each stream with entries nobody took, or pending ones. Raises `BusUnavailable`."""
    found = []
    async with aclosing(connect(address)) as redis:
        for name in (*agents, OPERATOR):
            for stream in MUST_BE_EMPTY:
                found += await _entries(redis, stream(name)) + await _untaken(redis, stream(name))
            for stream in MUST_BE_TAKEN:
                found += await _untaken(redis, stream(name))
        for key in [str(key) async for key in redis.scan_iter("hive:commands:*")]:
            found += await _entries(redis, key) + await _untaken(redis, key)
        found += await _untaken(redis, streams.EVENTS)
    return found


async def _entries(redis: Any, stream: str) -> list[str]:
    count = await call(redis.xlen(stream))
    return [f"{stream} holds {count} entries"] if count else []


async def _untaken(redis: Any, stream: str) -> list[str]:
    """Of each group: entries that it was never given, and such that it was given and did not acknowledge."""
    found = []
    for group in await call(redis.xinfo_groups(stream)) if await call(redis.exists(stream)) else ():
        name = f"{stream}, group {group['name']}"
        if group["pending"]:
            found.append(f"{name}: {group['pending']} pending")
        if newer := await call(redis.xrange(stream, f"({group['last-delivered-id']}", "+", count=1)):
            found.append(f"{name}: entries since {newer[0][0]} not taken")
    return found

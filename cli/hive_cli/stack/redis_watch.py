"""Says when Redis has little room left or takes no writes, when it is away, and when it is well again."""

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from redis import exceptions

from hive_runtime.bus import Memory
from hive_runtime.drain import Disk, shortage
from hive_runtime.redis_bus import connect
from hive_runtime.redis_url import RedisAddress

INTERVAL_S: Final = 2.0
CLOSE_TIMEOUT_S: Final = 0.5


class Health(StrEnum):
    OK = "ok"
    DRAINING = "draining"
    DISK_FULL = "disk_full"
    MEMORY_FULL = "memory_full"
    AWAY = "away"


SENTENCES: Final = {
    Health.OK: "Redis is well again; messages are taken on.",
    Health.DRAINING: "Drain mode: little memory or disk is left, so no new messages are taken on and what is there is "
    "worked off. Raise redis.maxmemory in hive.toml or free disk space; it goes on by itself.",
    Health.DISK_FULL: "Redis takes no writes: the disk of its append-only file is full or failing. Free some space "
    "and leave the hive running; it goes on by itself.",
    Health.MEMORY_FULL: "Redis takes no writes: its memory limit is reached. Raise redis.maxmemory in hive.toml, or "
    "let the agents work their inboxes off.",
    Health.AWAY: "Redis does not answer; everything waits for it.",
}


async def watch(address: RedisAddress, data_dir: Path, changed: Callable[[Health], None]) -> None:
    """Call `changed` at every change, the first time with anything but OK; until cancelled."""
    redis: Any = connect(address)
    last = Health.OK
    try:
        while not _cancelled():
            health = await look(redis, data_dir, draining=last is not Health.OK)
            if health != last:
                changed(health)
            last = health
            await asyncio.sleep(0 if _cancelled() else INTERVAL_S)
    finally:
        await _close(redis)


def _cancelled() -> bool:
    """redis-py now and then answers a cancellation with a result or an error of its own; it must not get lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _close(redis: Any) -> None:
    """Bounded: a connection that was cancelled while it was being made may never report its end."""
    with contextlib.suppress(TimeoutError, exceptions.RedisError, OSError):
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await redis.aclose()


async def look(redis: Any, data_dir: Path, *, draining: bool) -> Health:
    """`draining`: it was not well before."""
    try:
        info = await redis.info("persistence") | await redis.info("memory")
    except (exceptions.RedisError, OSError, TimeoutError):
        return Health.AWAY
    if info.get("aof_enabled") and info.get("aof_last_write_status", "ok") != "ok":
        return Health.DISK_FULL
    memory = Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))
    if memory.limit and memory.used >= memory.limit:
        return Health.MEMORY_FULL
    disk = Disk(data_dir, shutil.disk_usage(data_dir).free)
    return Health.DRAINING if shortage(memory, disk, draining=draining) else Health.OK

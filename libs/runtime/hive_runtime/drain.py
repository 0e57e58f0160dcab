"""Drain mode: when little memory or disk is left, the hive takes no new messages and works off those that it has.

What is left by then is for what follows from them: turn events, answers, acknowledgements. So a hive that runs full
empties itself, and does not stand still with every message half done. Whoever must know looks for itself.
"""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from hive_contracts.errors import Draining, Unavailable
from hive_runtime.bus import Bus, Memory

DRAIN_FROM: Final = 0.85
DRAIN_UNTIL: Final = 0.75
"""Parts of the server's memory limit; apart, so that the mode does not change with every message."""

DISK_FROM_BYTES: Final = 64 * 1024**2
DISK_UNTIL_BYTES: Final = 96 * 1024**2
LOOK_S: Final = 1.0

ADVICE: Final = "No new messages are taken on; what is there is worked off, and it goes on by itself once there is room"
_MB: Final = 1024**2

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Disk:
    """Where Redis and the stores keep their files, and the bytes free there."""

    path: Path
    free: int


def shortage(memory: Memory, disk: Disk, *, draining: bool) -> str:
    """What is short, in a sentence; empty when nothing is. `draining` says whether it was so before."""
    if memory.limit and memory.used >= (DRAIN_UNTIL if draining else DRAIN_FROM) * memory.limit:
        used, limit = memory.used / _MB, memory.limit / _MB
        return f"Redis uses {used:.1f} of the {limit:.1f} MB that it may (redis.maxmemory)"
    if disk.free < (DISK_UNTIL_BYTES if draining else DISK_FROM_BYTES):
        return f"the disk that holds {disk.path} has {disk.free / _MB:.0f} MB left"
    return ""


class Gauge:
    """`reason` says why the hive drains; empty while it does not."""

    def __init__(self, bus: Bus, data_dir: Path) -> None:
        self._bus = bus
        self._data_dir = data_dir
        self.reason = ""

    async def look(self) -> str:
        """Look now; returns `reason`. Raises `Unavailable`."""
        memory = await self._bus.memory()
        disk = Disk(self._data_dir, shutil.disk_usage(self._data_dir).free)
        before, self.reason = self.reason, shortage(memory, disk, draining=bool(self.reason))
        if bool(before) != bool(self.reason):
            log.warning("drain mode begins", reason=self.reason) if self.reason else log.info("drain mode ends")
        return self.reason

    async def watch(self, changed: Callable[[], None] = lambda: None) -> None:
        """Look every `LOOK_S` seconds until cancelled; while Redis is away, what was known of it holds."""
        while True:
            try:
                before = bool(self.reason)
                if bool(await self.look()) != before:
                    changed()
            except Unavailable:
                pass
            await asyncio.sleep(LOOK_S)

    def check(self) -> None:
        """Raises `Draining` for what is new."""
        if self.reason:
            raise Draining(f"the hive is in drain mode: {self.reason}. {ADVICE}; try again later")

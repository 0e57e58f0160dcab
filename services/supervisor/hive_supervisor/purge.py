"""Wiping what a purged agent had on disk, however often it takes."""

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from hive_contracts.errors import Unavailable
from hive_runtime.backoff import persist
from hive_runtime.wiping import wipe

AGAIN_S: Final = 5.0
"""The longest pause before another try, in seconds: somebody has to unmount something, or to make a disk writable."""

log = structlog.get_logger()


async def wipe_all(paths: Iterable[Path]) -> None:
    """Returns once none of them is there."""
    for path in paths:
        await persist(partial(asyncio.to_thread, _wipe_or_say, path), limit_s=AGAIN_S)


def _wipe_or_say(path: Path) -> None:
    try:
        wipe(path)
    except Unavailable as error:
        log.warning("purge waits", reason=str(error))
        raise

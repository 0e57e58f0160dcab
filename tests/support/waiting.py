"""Waiting for the world outside of the loop: files, processes, pages. Always inside a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

PAUSE_S: Final = 0.01


async def until(condition: Callable[[], object], *, within_s: float = 20) -> None:
    """Returns when `condition` holds. Raises `TimeoutError`."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(PAUSE_S)


async def eventually(condition: Callable[[], Awaitable[object]], *, within_s: float = 20) -> None:
    """The same for a condition that must be awaited."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(PAUSE_S)


def wait_until(condition: Callable[[], object], *, within_s: float = 20) -> None:
    """The same outside of a loop."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s} s")
        time.sleep(PAUSE_S)

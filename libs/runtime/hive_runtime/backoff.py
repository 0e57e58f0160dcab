"""Waiting longer after each failure, with jitter so that many do not come back at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hive_contracts.errors import Unavailable

T = TypeVar("T")


class Backoff:
    """Doubles from `first_s` to `limit_s` seconds; each wait is drawn from the upper half of its step."""

    def __init__(self, *, first_s: float, limit_s: float) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self.tries = 0

    def next_s(self) -> float:
        """The next wait, in seconds; counts a try."""
        step: float = min(self._limit_s, self._first_s * 2 ** min(self.tries, 30))
        self.tries += 1
        return step * random.uniform(0.5, 1.0)

    async def wait(self) -> None:
        await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        self.tries = 0


async def persist(work: Callable[[], Awaitable[T]], *, limit_s: float = 2.0) -> T:
    """Do `work` again until what it stands on is there. Only for work that may safely be done twice."""
    backoff = Backoff(first_s=0.02, limit_s=limit_s)
    while True:
        try:
            return await work()
        except Unavailable:
            await backoff.wait()

"""Waiting longer after each failure, with jitter so that many do not come back at once."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from hive_contracts.errors import Unavailable

FIRST_S: Final = 0.02
LIMIT_S: Final = 0.25
"""Between two tries of what waits for Redis or a store, in seconds: all flows again half a second after they do."""

T = TypeVar("T")


class Backoff:
    """Doubles from `first_s` to `limit_s` seconds; each wait is drawn from the upper half of its step.

    `at_once`: before that the first try comes without a wait.
    """

    def __init__(self, *, first_s: float = FIRST_S, limit_s: float = LIMIT_S, at_once: bool = False) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._free = int(at_once)
        self.tries = 0

    def next_s(self) -> float:
        """The next wait, in seconds; counts a try."""
        step: float = min(self._limit_s, self._first_s * 2 ** min(max(0, self.tries - self._free), 30))
        self.tries += 1
        return step * random.uniform(0.5, 1.0) if self.tries > self._free else 0.0

    async def wait(self) -> None:
        await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        self.tries = 0


async def persist(work: Callable[[], Awaitable[T]], *, limit_s: float = LIMIT_S) -> T:
    """Do `work` again until what it stands on is there. Only for work that may safely be done twice."""
    backoff = Backoff(limit_s=limit_s)
    while True:
        try:
            return await work()
        except Unavailable:
            await backoff.wait()

"""What follows a delivery: facts, answers, and last the acknowledgement of the outbox. Written behind it, in order.

The recipient's next message does not wait for it, and what follows several messages is written at once. Until it is
written the outbox entries stay pending: whoever takes them up after a crash tells again, with the same ids.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hive_runtime.backoff import persist
from hive_runtime.bus import Batch, Bus

MOST: Final = 1_000
"""Appends that may wait; then the outboxes wait for them."""

LINGER_S: Final = 0.002
"""Pause before each writing: what comes singly is written together, and does not get in the way of its recipient."""


class Aftermath:
    """One for all outboxes. `run` writes until cancelled; while it cannot, it tries again."""

    def __init__(self, bus: Bus, *, linger_s: float = LINGER_S) -> None:
        self._bus = bus
        self._linger_s = linger_s
        self._waiting: list[tuple[Batch, Callable[[], None]]] = []
        self._due = asyncio.Event()
        self._written = asyncio.Event()

    async def put(self, batch: Batch, done: Callable[[], None]) -> None:
        """Returns before it is written, unless much is waiting; `done` is called when it is."""
        self._waiting.append((batch, done))
        self._due.set()
        await self._until(lambda: sum(len(waiting.appends) for waiting, _ in self._waiting) <= MOST)

    async def flush(self) -> None:
        """Returns when all that was put before is written."""
        newest = self._waiting[-1] if self._waiting else None
        await self._until(lambda: all(one is not newest for one in self._waiting))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._written.clear()
            await self._written.wait()

    async def run(self) -> None:
        while True:
            await self._due.wait()
            await asyncio.sleep(self._linger_s)
            self._due.clear()
            count = len(self._waiting)
            batches = [batch for batch, _ in self._waiting]
            joint = Batch([it for one in batches for it in one.appends], [it for one in batches for it in one.acks])
            await persist(lambda joint=joint: self._bus.write(joint))  # type: ignore[misc]
            written, self._waiting = self._waiting[:count], self._waiting[count:]
            for _, done in written:
                done()
            self._written.set()

"""What time does: questions expire and reminders come due. Sleeps until the next of them."""

import asyncio
from typing import Final

from hive_broker.mail import Clock
from hive_broker.questions import Questions
from hive_broker.reminders import Reminders
from hive_runtime.backoff import persist
from hive_runtime.records.threads import ThreadWriter

LONGEST_S: Final = 60.0
"""The clock of the machine may be set, another broker may have taken on something sooner, an owner may come back."""


class Scheduler:
    """`run` returns only by cancellation. `tick` does what is due now; it may be cut off anywhere and repeated."""

    def __init__(self, threads: ThreadWriter, questions: Questions, reminders: Reminders, clock: Clock) -> None:
        self._threads = threads
        self._questions = questions
        self._reminders = reminders
        self._clock = clock
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Something new may be due sooner."""
        self._news.set()

    async def run(self) -> None:
        while True:
            self._news.clear()
            await persist(self.tick)
            try:
                async with asyncio.timeout(await persist(self._rest_s)):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def tick(self) -> None:
        """Raises `Unavailable`."""
        await asyncio.to_thread(self._threads.run_out, self._clock())
        await self._questions.tell_expired()
        await self._reminders.tell_due()

    async def _rest_s(self) -> float:
        due = self._threads.next_due()
        return LONGEST_S if due is None else min(LONGEST_S, max(0, due - self._clock()) / 1000)

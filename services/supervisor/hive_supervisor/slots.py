"""How many containers start at once: a small machine that starts fifty together brings none up in time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Slots:
    """`held` waits for one of `number` in the order of asking, unless something else is to be done first."""

    def __init__(self, number: int) -> None:
        self._free = asyncio.Semaphore(number)

    @property
    def taken(self) -> bool:
        """Whether the next one must wait."""
        return self._free.locked()

    @asynccontextmanager
    async def held(self, *, wake: Callable[[object], None], news: Callable[[], Awaitable[bool]]) -> AsyncIterator[bool]:
        """True with a slot, given back after the block; False when `news` said so. `wake` is called when one is free.

        `news` waits for whatever comes next, and says whether that ends the waiting.
        """
        turn = asyncio.ensure_future(self._free.acquire())
        turn.add_done_callback(wake)
        try:
            given_up = False
            while not turn.done() and not given_up:
                given_up = await news()
            yield turn.done()
        finally:
            turn.remove_done_callback(wake)
            if turn.done() and not turn.cancelled():
                self._free.release()
            else:
                turn.cancel()

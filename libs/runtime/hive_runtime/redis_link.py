"""Whether the server answers: one probe for all of a process, and one line in the log at each change."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from hive_runtime.backoff import Backoff
from hive_runtime.errors import BusUnavailable

log = structlog.get_logger()


class RedisLink:
    """Any number may wait in `until_back`: the first one asks, the others queue behind it and go when it has an answer.

    So a thousand readers make one connection attempt at a time while the server is away, and say nothing.
    """

    def __init__(self, ping: Callable[[], Awaitable[None]]) -> None:
        self._ping = ping
        self._one_probe = asyncio.Lock()
        self._answered_at = 0.0

    async def until_back(self) -> None:
        """Returns once the server has answered since this call."""
        asked_at = _now()
        async with self._one_probe:
            if self._answered_at < asked_at:
                await self._probe(asked_at)
                self._answered_at = _now()

    async def _probe(self, since: float) -> None:
        backoff = Backoff()
        while True:
            try:
                await self._ping()
                break
            except BusUnavailable as error:
                if backoff.tries == 0:
                    log.warning("redis is away", reason=str(error))
            await backoff.wait()
        if backoff.tries:
            log.info("redis answers again", after_s=round(_now() - since, 2))


def _now() -> float:
    return asyncio.get_running_loop().time()

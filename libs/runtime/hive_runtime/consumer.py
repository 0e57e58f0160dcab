"""A consumer group's reader that strands nothing.

A blocking read that is cancelled, times out or loses its connection can leave entries that the server gave out and
nobody saw. So this reader asks for its own pending entries first, after every start and every failure, and only then
for new ones. Ids already handed out and not yet settled are not handed out again until `rewind`.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from hive_contracts.errors import Unavailable
from hive_runtime.backoff import Backoff
from hive_runtime.bus import BLOCK_MS, Bus, Entry, GroupReader
from hive_runtime.errors import BusFull, BusUnavailable, NoGroup

log = structlog.get_logger()


class Consumer:
    """One consumer of one group of one stream.

    `may_create`: whether this user may make a missing group; `remake` does it, and may make more than this one.
    `reader`: another than a connection of its own; `aclose` closes it, too.
    """

    def __init__(  # noqa: PLR0913 - a group's reader has an address of four parts
        self,
        bus: Bus,
        stream: str,
        group: str,
        name: str,
        *,
        count: int = 100,
        may_create: bool = True,
        remake: Callable[[], Awaitable[None]] | None = None,
        reader: GroupReader | None = None,
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._group = group
        self._name = name
        self._count = count
        self._may_create = may_create
        self._remake = remake or (lambda: bus.ensure_group(stream, group))
        self._reader = reader
        self._pending_after: str | None = "0"
        self._in_hand: set[str] = set()
        self._backoff = Backoff()

    async def read(self, *, count: int | None = None, block_ms: int = BLOCK_MS) -> list[Entry]:
        """The next entries, own pending ones first; empty only when `block_ms` passed. Waits while Redis is away."""
        while True:
            pending_before = self._pending_after
            try:
                entries = await self._read_once(count or self._count, block_ms)
            except (BusUnavailable, BusFull) as error:
                await self._recover(error)
                continue
            except BaseException:
                self._pending_after = "0"
                raise
            self._backoff.reset()
            if entries or (pending_before is None and self._pending_after is None):
                return entries

    def settle(self, ids: list[str]) -> None:
        """These were acknowledged."""
        self._in_hand.difference_update(ids)

    def in_hand(self) -> list[str]:
        """Ids that were handed out and are not settled."""
        return sorted(self._in_hand)

    def rewind(self, ids: list[str] | None = None) -> None:
        """Hand unacknowledged entries out again: every one, or these."""
        self._in_hand.difference_update(self._in_hand.copy() if ids is None else ids)
        self._pending_after = "0"

    async def aclose(self) -> None:
        if self._reader is not None:
            await self._reader.aclose()

    async def _read_once(self, count: int, block_ms: int) -> list[Entry]:
        reader = self._reader = self._reader or self._bus.reader()
        if self._pending_after is None:
            entries = await reader.read_new(self._stream, self._group, self._name, count=count, block_ms=block_ms)
        else:
            after = self._pending_after
            found = await reader.read_pending(self._stream, self._group, self._name, after=after, count=count)
            self._pending_after = found[-1].id if found else None
            entries = [entry for entry in found if entry.id not in self._in_hand]
        self._in_hand.update(entry.id for entry in entries)
        return entries

    async def _recover(self, error: BusUnavailable | BusFull) -> None:
        self._pending_after = "0"
        if isinstance(error, NoGroup) and self._may_create:
            log.warning("consumer group was gone, made again", stream=self._stream, group=self._group)
            try:
                await self._remake()
                return
            except (BusUnavailable, BusFull) as second:
                error = second
        if not isinstance(error, NoGroup | BusFull):  # those are answers
            await self._bus.until_back()
        elif isinstance(error, NoGroup) and self._backoff.tries == 0:
            log.warning("consumer group is gone", stream=self._stream, group=self._group)
        await self._backoff.wait()


async def consume(
    consumer: Consumer,
    handle: Callable[[list[Entry]], Awaitable[None]],
    *,
    linger_s: float = 0.0,
    settles: bool = True,
) -> None:
    """Hand every batch to `handle`, which acknowledges it, until cancelled.

    `linger_s`: pause after each batch, so that a busy stream is read in few and large ones. `settles`: a batch is done
    when `handle` returns; else `handle` settles it when it is.

    When something it stands on is away, the same entries come again later: `handle` must be repeatable.
    """
    backoff = Backoff()
    while True:
        entries = await consumer.read()
        if not entries:
            continue
        ids = [entry.id for entry in entries]
        try:
            await handle(entries)
        except Unavailable as error:
            if backoff.tries == 0:
                log.warning("batch put back", code=error.code, reason=str(error), entries=len(entries))
            consumer.rewind(ids)
            await backoff.wait()
            continue
        if backoff.tries:
            log.info("batch done after all", tries=backoff.tries + 1)
        backoff.reset()
        if settles:
            consumer.settle(ids)
        if linger_s:
            await asyncio.sleep(linger_s)

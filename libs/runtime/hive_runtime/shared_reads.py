"""Many silent streams in one blocking read, so that who serves thousands of them needs a few dozen connections.

A stream that something happens on is read on a connection of its own, which is quickest. After a second of silence it
joins others of its consumer group in one XREADGROUP, until an entry of its own comes. Should a shared read end in any
other way (a server that is gone or was emptied, a reader that leaves), the server may have given out what nobody saw:
all who waited in it are told by `BusUnavailable`, and a `Consumer` then looks at its own pending entries.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Final

from hive_contracts.errors import HiveError
from hive_runtime.bus import BLOCK_MS, Bus, Entry, GroupReader, Reader
from hive_runtime.errors import BusUnavailable

MOST: Final = 128
"""Streams in one read: the server looks at each of them whenever one has something."""

ALONE_S: Final = 1.0
REST_S: Final = 30.0
"""Silence after which a stream's reader rests: until then it may soon be needed again."""

GATHER_S: Final = 0.01
"""Those who begin to wait within so long are read together."""

TICK_S: Final = BLOCK_MS / 1000
LOOKS: Final = 16
"""Looks at pending entries at once, should all have to look."""

SPARE: Final = 32

Address = tuple[str, str, int]
"""Group, consumer, and how many entries of each stream."""

Rest = Callable[[], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Wait:
    stream: str
    come: "asyncio.Future[list[Entry]]"
    read: "asyncio.Task[bool] | None" = None


class SharedReads:
    """`run` reads for all until cancelled; `reader` makes one for one stream."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._spare: list[Reader] = []
        self._looks = asyncio.Semaphore(LOOKS)
        self._free: dict[Address, list[_Wait]] = {}
        self._news = asyncio.Event()

    def reader(self, *, at_rest: Rest | None = None) -> GroupReader:
        """For one stream. `at_rest` is awaited once its silence has lasted: what it stands on may be given back."""
        return _SharedReader(self, at_rest)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as reads:
                while True:
                    await self._news.wait()
                    await asyncio.sleep(GATHER_S)
                    self._news.clear()
                    free, self._free = self._free, {}
                    for address, waits in free.items():
                        self._begin(reads, address, [wait for wait in waits if not wait.come.done()])
        finally:
            for reader in self._spare:
                await reader.aclose()

    def _begin(self, reads: asyncio.TaskGroup, address: Address, waits: Sequence[_Wait]) -> None:
        for at in range(0, len(waits), MOST):
            together = {wait.stream: wait for wait in waits[at : at + MOST]}
            task = reads.create_task(self._read(address, together))
            task.add_done_callback(partial(self._ended, address, together))
            for wait in together.values():
                wait.read = task

    async def _read(self, address: Address, waits: dict[str, _Wait]) -> bool:
        """False when something may have been given out that nobody saw."""
        try:
            async with self.connection() as reader:
                await self._read_on(reader, address, waits)
        except HiveError:  # each finds out by itself, and by its own group
            return False
        return True

    def _ended(self, address: Address, waits: dict[str, _Wait], read: "asyncio.Task[bool]") -> None:
        is_sure = not read.cancelled() and not read.exception() and read.result()
        for wait in waits.values():
            wait.read = None
            if is_sure:
                self._join(address, wait)
            elif not wait.come.done():
                wait.come.set_exception(BusUnavailable("the shared read ended"))

    async def _read_on(self, reader: Reader, address: Address, waits: dict[str, _Wait]) -> None:
        """Until all have had something; or until the time is over and they are few, then they go to others."""
        group, consumer, count = address
        while waits:
            entries = await reader.read_new_of(list(waits), group, consumer, count=count, block_ms=_to_tick_ms())
            for stream, found in groupby(entries, key=lambda entry: entry.stream):
                wait = waits.pop(stream)
                if not wait.come.done():
                    wait.come.set_result(list(found))
            if not entries and len(waits) <= MOST // 2:
                return

    def _join(self, address: Address, wait: _Wait) -> None:
        self._free.setdefault(address, []).append(wait)
        self._news.set()

    async def wait(self, address: Address, stream: str, at_rest: Rest | None) -> list[Entry]:
        """New entries of `stream`, which nobody else waits for. Raises `BusUnavailable`: see above."""
        wait = _Wait(stream, asyncio.get_running_loop().create_future())
        self._join(address, wait)
        try:
            await asyncio.wait([wait.come], timeout=REST_S if at_rest else None)
            if at_rest and not wait.come.done():
                await at_rest()
                await asyncio.wait([wait.come])
            return wait.come.result()
        finally:
            if wait.come.cancel() and wait.read:  # when this returns, nobody reads for it any more
                wait.read.cancel()
                await asyncio.wait([wait.read])

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Reader]:
        reader = self._spare.pop() if self._spare else self._bus.reader()
        try:
            yield reader
        finally:
            if len(self._spare) < SPARE:
                self._spare.append(reader)
            else:
                await reader.aclose()

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Reader]:
        """The same for what does not block: few at once, however many there are."""
        async with self._looks, self.connection() as reader:
            yield reader


class _SharedReader:
    """Begins among the silent: what is there already comes at once there, too."""

    def __init__(self, shared: SharedReads, at_rest: Rest | None) -> None:
        self._shared = shared
        self._at_rest = at_rest
        self._silent = True

    async def read_new(self, stream: str, group: str, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Empty after a moment of silence; once that is over it waits for as long as it takes."""
        if self._silent:
            entries = await self._shared.wait((group, consumer, count), stream, self._at_rest)
        else:
            async with self._shared.connection() as reader:
                alone = min(block_ms, _alone_ms())
                entries = await reader.read_new(stream, group, consumer, count=count, block_ms=alone)
        self._silent = not entries
        return entries

    async def read_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        async with self._shared.looking() as reader:
            return await reader.read_pending(stream, group, consumer, after=after, count=count)

    async def aclose(self) -> None:
        return None


def _to_tick_ms() -> int:
    """All shared reads end at the same time, so that those with few streams can be put together."""
    return max(1, round((TICK_S - time.monotonic() % TICK_S) * 1000))


def _alone_ms() -> int:
    """So do those who were alone: they meet."""
    return round((2 * ALONE_S - time.monotonic() % ALONE_S) * 1000)

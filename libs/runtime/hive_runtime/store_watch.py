"""Telling everyone of broken stores: once on `hive:events`, and as warnings for as long as the broken file is kept."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_contracts.stores import StoreReplaced
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.store import Store
from hive_runtime.store_broken import MARK, broken_stores

CHECK_S: Final = 2.0
LOOK_S: Final = 30.0
"""How long a look at the data directory is good for: it reads a folder for each agent."""

MOST: Final = 5


async def tell_when_replaced(store: Store, bus: Bus, *, source: str, brought_back: str) -> None:
    """For the store's writer, until cancelled; also of what was found at the start."""
    told = None
    while True:
        if store.replaced and store.replaced != told:
            fact = replaced_fact(store.replaced, source=source, brought_back=brought_back)
            await persist(partial(bus.append, streams.EVENTS, fact))
            told = store.replaced
        await asyncio.sleep(CHECK_S)


def replaced_fact(kept: Path, *, source: str, brought_back: str, folder: str = "") -> Envelope:
    """`folder`: of the store, as a path in the data directory."""
    place, kept_as = folder + kept.name.partition(MARK)[0], folder + kept.name
    fact = StoreReplaced(store=place, kept_as=kept_as, brought_back=brought_back)
    return Envelope.of(fact, source=source, id=kept_as[-128:], subject=place)


class BrokenStores:
    """What of the data directory the operator should know; looks at most every `LOOK_S` seconds."""

    def __init__(self, data_dir: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._looked: float | None = None
        self._warnings: tuple[str, ...] = ()

    def warnings(self) -> tuple[str, ...]:
        """A sentence for each store that was set aside and is still kept, the newest `MOST` of them. Blocks."""
        if self._looked is None or self._clock() - self._looked >= LOOK_S:
            self._looked = self._clock()
            found = sorted(broken_stores(self._data_dir), key=lambda path: path.name.rpartition(MARK)[2])
            self._warnings = tuple(self._sentence(path) for path in found[-MOST:])
        return self._warnings

    def _sentence(self, kept: Path) -> str:
        name = str(kept.relative_to(self._data_dir))
        return (
            f"{name.partition(MARK)[0]} was broken and has been replaced by a new one; look at {name}, "
            "restore a backup if you miss something, and delete it."
        )

"""How many turns each agent ended lately, for small charts: counted as they end, so that a page reads no store."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from hive_dashboard.charts import Spark
from hive_runtime.errors import StoreUnavailable
from hive_runtime.records.stats import StatsReader

SPAN: Final = timedelta(hours=1)
SLOT: Final = timedelta(minutes=2)
SLOTS: Final = SPAN // SLOT

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

log = structlog.get_logger()


class Activity:
    """Knows the agents that `follow` was told of. What ended before that comes from their stores."""

    def __init__(self, data_dir: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._turns: dict[str, Counter[int]] = {}
        self._counted: dict[str, datetime] = {}

    async def follow(self, agents: Iterable[str]) -> None:
        """These and no others."""
        names = set(agents)
        for name in self._turns.keys() - names:
            del self._turns[name]
        for name in names - self._turns.keys():
            self._turns[name], self._counted[name] = await asyncio.to_thread(self._stored, name)

    def ended(self, agent: str, at: datetime) -> None:
        """A turn did. One that the store had already is not counted again."""
        if agent in self._turns and at > self._counted[agent]:
            self._turns[agent][_slot(at)] += 1

    def spark(self, agent: str) -> Spark:
        """Turns of the last hour, in steps of two minutes."""
        newest = _slot(self._clock())
        turns = self._turns.get(agent, Counter())
        for slot in [slot for slot in turns if slot <= newest - SLOTS]:
            del turns[slot]
        values = tuple(float(turns[slot]) for slot in range(newest - SLOTS + 1, newest + 1))
        number = round(sum(values))
        return Spark(f"{number} turn{'' if number == 1 else 's'} in the last hour", values)

    def _stored(self, agent: str) -> tuple[Counter[int], datetime]:
        """Blocks. How many ended in each slot, and when the last did."""
        end = _EPOCH + SLOT * (_slot(self._clock()) + 1)
        reader = StatsReader(self._data_dir / "agents" / agent / "events.sqlite")
        try:
            buckets = reader.series("turns", end - SPAN, end, SLOT)
            ends = reader.last_turns(end - SPAN, end, SLOT)
        except StoreUnavailable as error:
            log.warning("turns of the last hour are not known", agent=agent, reason=str(error))
            return Counter(), _EPOCH
        return Counter({_slot(bucket.at): bucket.count for bucket in buckets}), max(ends.values(), default=_EPOCH)


def _slot(at: datetime) -> int:
    return (at - _EPOCH) // SLOT

"""One sweep: streams, then stores, and the report of both."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hive_contracts.retention import RetentionSwept, Swept
from hive_runtime.store_sweep import Pace
from hive_runtime.trim import Trimmer
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.retention.policy import Policy
from hive_supervisor.retention.stores import sweep_stores
from hive_supervisor.retention.streams import sweep_streams


class SweepStopped(Exception):
    """The supervisor ends; what was deleted so far stays deleted, the rest is for the next sweep."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep needs. `agents` gives the names of the registered ones."""

    config: RetentionSettings
    data_dir: Path
    trimmer: Trimmer
    agents: Callable[[], Iterable[str]]

    async def run(self, now: datetime, *, dry_run: bool) -> RetentionSwept:
        """Sweep, or only count; never fails for a store or a stream. Cancelling ends it between two steps."""
        started = time.monotonic()
        policy = Policy(self.config, now)
        streams = await sweep_streams(self.trimmer, policy, dry_run=dry_run)
        stores = await self._stores(policy, dry_run=dry_run)
        swept = (*streams, *stores)
        return RetentionSwept(
            dry_run=dry_run,
            at=now,
            seconds=round(time.monotonic() - started, 3),
            removed=sum(item.removed for item in swept),
            bytes_freed=sum(item.bytes_freed for item in swept),
            errors=sum(bool(item.error) for item in swept),
            stores=tuple(stores),
            streams=tuple(streams),
        )

    async def _stores(self, policy: Policy, *, dry_run: bool) -> list[Swept]:
        stop = threading.Event()

        def pause(seconds: float) -> None:
            if stop.wait(seconds):
                raise SweepStopped

        names = tuple(self.agents())
        try:
            return await asyncio.to_thread(
                sweep_stores, self.data_dir, names, policy, pace=Pace(pause), dry_run=dry_run
            )
        finally:
            stop.set()


def noteworthy(report: RetentionSwept) -> RetentionSwept:
    """The report without the stores and streams that lost nothing and did not fail."""
    return report.model_copy(update={"stores": _touched(report.stores), "streams": _touched(report.streams)})


def _touched(swept: Sequence[Swept]) -> tuple[Swept, ...]:
    return tuple(item for item in swept if item.removed or item.error)

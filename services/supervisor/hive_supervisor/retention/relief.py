"""In drain mode: sweep the streams at once, and keep less than usual of what is there only to look back at."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts.errors import Unavailable
from hive_runtime.drain import LOOK_S, Gauge
from hive_runtime.trim import Trimmer
from hive_supervisor.retention.config import RetentionSettings
from hive_supervisor.retention.policy import Policy
from hive_supervisor.retention.streams import sweep_streams

AGAIN_S: Final = 5.0
"""Between two sweeps while it lasts, in seconds."""

LIVE_ENTRIES: Final = 100
LOOK_BACK_DAYS: Final = 10 / (24 * 60)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Relief:
    """`run` watches and sweeps until cancelled. What is not done or not recorded stays, as in every sweep."""

    gauge: Gauge
    trimmer: Trimmer
    config: RetentionSettings

    async def run(self) -> None:
        while True:
            draining = ""
            with suppress(Unavailable):
                draining = await self.gauge.look()
            if draining:
                await self.sweep()
            await asyncio.sleep(AGAIN_S if draining else LOOK_S)

    async def sweep(self) -> int:
        """Returns how many entries went."""
        swept = await sweep_streams(self.trimmer, Policy(self._tight(), datetime.now(UTC)), dry_run=False)
        removed = sum(stream.removed for stream in swept)
        if removed:
            log.info("streams swept in drain mode", removed=removed, bytes_freed=sum(s.bytes_freed for s in swept))
        return removed

    def _tight(self) -> RetentionSettings:
        config = self.config
        return config.model_copy(
            update={
                "live_entries": min(LIVE_ENTRIES, config.live_entries),
                "control_days": min(LOOK_BACK_DAYS, config.control_days),
                "fact_days": min(LOOK_BACK_DAYS, config.fact_days),
            }
        )

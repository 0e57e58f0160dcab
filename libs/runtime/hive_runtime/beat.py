"""A service's heartbeat: a field of `hive:services` that says it is alive."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from hive_contracts import streams
from hive_contracts.agents import ServiceBeat
from hive_contracts.errors import HiveError
from hive_runtime import VERSION
from hive_runtime.bus import Bus

INTERVAL_S: Final = 5.0


async def beat(bus: Bus, service: str, *, warning: Callable[[], str] = str) -> None:
    """Tell `hive:services` every `INTERVAL_S` seconds that `service` lives, until cancelled.

    `warning` gives what the operator must know of it now, or nothing.
    """
    started = datetime.now(UTC)
    while True:
        now = datetime.now(UTC)
        pulse = ServiceBeat(
            service=service, pid=os.getpid(), version=VERSION, started_at=started, at=now, warning=warning()
        )
        try:
            await bus.hash_set(streams.SERVICES, {service: pulse.model_dump_json()})
        except HiveError:
            await asyncio.sleep(INTERVAL_S / 10)
            continue
        await asyncio.sleep(INTERVAL_S)

"""A service's heartbeat: a field of `hive:services` that says it is alive."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from hive_contracts import streams
from hive_contracts.agents import ServiceBeat
from hive_contracts.errors import HiveError
from hive_contracts.versions import Skew, skew
from hive_runtime import VERSION
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.errors import SettingsError

INTERVAL_S: Final = 5.0
LOOK_S: Final = 0.5
FRESH: Final = timedelta(seconds=3 * INTERVAL_S)
"""A beat older than this is that of a service which died or hangs."""


async def beat(bus: Bus, service: str, *, warning: Callable[[], str] = str) -> None:
    """Tell `hive:services` every `INTERVAL_S` seconds that `service` lives, until cancelled.

    `warning` gives what the operator must know of it now, or nothing.
    """
    await refuse_skew(bus, service)
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


async def refuse_skew(bus: Bus, service: str) -> None:
    """Raises `SettingsError` when a service is at work that is too old or too new to work with this one.

    One that beat a moment ago may have ended since: it is at work when it beats again, and gone when its beat is stale.
    """
    seen: dict[str, datetime] = {}
    while others := await _too_far(bus, service):
        for other in others:
            if other.at != seen.setdefault(other.service, other.at):
                raise SettingsError(
                    f"this {service} is hyperhive {VERSION}, and the {other.service} at work is {other.version}: too "
                    "far apart to work together; stop all of them, then start those of one version"
                )
        await asyncio.sleep(LOOK_S)


async def _too_far(bus: Bus, service: str) -> list[ServiceBeat]:
    """The other services whose beat is fresh, and whose version is too far from this one's."""
    found = []
    for name, text in (await persist(lambda: bus.hash_all(streams.SERVICES))).items():
        try:
            other = ServiceBeat.model_validate_json(text)
        except ValueError:
            continue
        is_there = name != service and datetime.now(UTC) - other.at < FRESH
        if is_there and skew(VERSION, other.version) is Skew.REFUSED:
            found.append(other)
    return found

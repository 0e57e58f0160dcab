"""`python -m hive_runtime.alive SERVICE`: whether its heartbeat is fresh; for health checks of containers.

Reads the same variables as the service itself, and uses its Redis user.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Final

from hive_contracts import streams
from hive_contracts.agents import ServiceBeat
from hive_contracts.errors import HiveError
from hive_runtime.beat import FRESH
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import address_from_environment

WAIT_S: Final = 4.0


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        return _no("name one service: broker, supervisor or dashboard")
    try:
        return asyncio.run(_look(arguments[0]))
    except (HiveError, TimeoutError) as error:
        return _no(f"cannot ask Redis: {error}")


async def _look(service: str) -> int:
    bus = RedisBus(address_from_environment(os.environ))
    try:
        async with asyncio.timeout(WAIT_S):
            text = (await bus.hash_all(streams.SERVICES)).get(service)
    finally:
        await bus.aclose()
    if text is None:
        return _no(f"{service} has not spoken yet")
    age = datetime.now(UTC) - ServiceBeat.model_validate_json(text).at
    return 0 if age < FRESH else _no(f"{service} last spoke {age.total_seconds():.0f} s ago")


def _no(reason: str) -> int:
    sys.stderr.write(f"{reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

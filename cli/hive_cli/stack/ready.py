"""When a hive is ready: the dashboard serves, every service gives a beat, and the manager's harness has reported."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hive_cli.client import HiveClient
from hive_contracts.errors import HiveError, TimedOut
from hive_contracts.names import MANAGER

POLL_S: Final = 0.05
SERVICES_TIMEOUT_S: Final = 30.0
MANAGER_TIMEOUT_S: Final = 30.0


class Readiness:
    """Asks the dashboard at `address`. `pids` are the services' own: a beat of an earlier start does not count."""

    def __init__(self, client: HiveClient, *, since: datetime) -> None:
        self._client = client
        self._since = since

    async def services(self, pids: Mapping[str, int | None]) -> None:
        """Raises `TimedOut`, naming who is missing."""
        missing: list[str] = list(pids)
        try:
            async with asyncio.timeout(SERVICES_TIMEOUT_S):
                while missing:
                    missing = await self._missing(pids)
                    await asyncio.sleep(POLL_S if missing else 0)
        except TimeoutError as error:
            raise TimedOut(
                f"{' and '.join(missing)} did not become ready within {SERVICES_TIMEOUT_S:.0f} s; see "
                f"`hive logs {missing[0]}`"
            ) from error

    async def _missing(self, pids: Mapping[str, int | None]) -> list[str]:
        if await self._get("/readyz") is None:
            return ["dashboard"]
        found = await self._get("/api/v1/status") or {"services": []}
        alive = {(service["service"], service["pid"]) for service in found["services"] if service["alive"]}
        return [name for name, pid in pids.items() if (name, pid) not in alive]

    async def manager(self) -> str | None:
        """None when the manager agent's harness has reported; else, after a time-out, what is known of it."""
        detail = "nothing is known of it"
        try:
            async with asyncio.timeout(MANAGER_TIMEOUT_S):
                while True:
                    view = await self._get(f"/api/v1/agents/{MANAGER}")
                    if view is not None:
                        if reported(view, self._since):
                            return None
                        detail = f"{view['container']} {view['detail']}".strip()
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            return detail

    async def _get(self, path: str) -> Any:
        """None while there is no good answer."""
        try:
            return await asyncio.to_thread(self._client.get, path)
        except HiveError:
            return None


def reported(view: Mapping[str, Any], since: datetime) -> bool:
    """Whether the state is of a harness that runs. Redis keeps the state of an earlier one, so it must be younger than
    `since`; or its container older: then it outlived the hive that started it."""
    state = view.get("state")
    if not state or view["container"] != "running" or state["state"] == "starting":
        return False
    return parse_time(state["since"]) >= since or parse_time(view["container_since"]) < since


def parse_time(iso: str) -> datetime:
    found = datetime.fromisoformat(iso)
    return found if found.tzinfo else found.replace(tzinfo=UTC)

"""The Redis server as the supervisor sees it: when it is another run, or lost its data, everything is made again."""

import asyncio
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.errors import Unavailable
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus
from hive_runtime.redis_admin import RedisAdmin
from hive_supervisor.fleet import Fleet
from hive_supervisor.principals import Principals

CHECK_S: Final = 0.5

log = structlog.get_logger()


class Server:
    """Users, groups and registry are restored as one; each step may be repeated."""

    def __init__(self, bus: Bus, admin: RedisAdmin, *, principals: Principals, fleet: Fleet) -> None:
        self._bus = bus
        self._admin = admin
        self._principals = principals
        self._fleet = fleet
        self._run_id = ""

    async def restore(self) -> None:
        """Make everything that is not there; waits while the server is away."""
        await persist(self._restore, limit_s=0.5)

    async def watch(self) -> None:
        """Look every `CHECK_S` seconds, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                facts = await self._admin.facts()
                lost = facts.run_id != self._run_id or not await self._bus.hash_all(streams.INFO)
            except Unavailable:
                continue
            if lost:
                log.warning("redis started anew or lost its data; users and groups are made again", server=facts.name)
                await self.restore()

    async def _restore(self) -> None:
        facts = await self._admin.facts()
        await self._principals.ensure_services()
        await self._fleet.restore()
        self._run_id = facts.run_id

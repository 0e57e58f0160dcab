"""The Redis server as the supervisor sees it: when it is another run, or lost its data, everything is made again."""

import asyncio
import itertools
import stat
from pathlib import Path
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.errors import Unavailable
from hive_runtime.backoff import persist
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus
from hive_supervisor.fleet import Fleet
from hive_supervisor.principals import Principals

CHECK_S: Final = 0.2
CLOSER_EVERY: Final = 25
"""So many looks to one at the groups that agents read with and may not make, and at replicas."""

OPEN: Final = (
    "This Redis lets anybody in without a password, so an agent can read and write everything in it. Close its default "
    "user (ACL SETUSER default off) and put a user and its password into the URL."
)

log = structlog.get_logger()


class Server:
    """Users, groups and registry are restored as one; each step may be repeated.

    `socket`: the server's, where it is reached by one and agents have user ids of their own.
    """

    def __init__(
        self, bus: RedisBus, admin: RedisAdmin, *, principals: Principals, fleet: Fleet, socket: Path | None = None
    ) -> None:
        self._bus = bus
        self._admin = admin
        self._principals = principals
        self._fleet = fleet
        self._socket = socket
        self._run_id = ""
        self._replicas: frozenset[str] = frozenset()

    async def restore(self) -> None:
        """Make everything that is not there; waits while the server is away."""
        await persist(self._restore)

    async def watch(self) -> None:
        """Look every `CHECK_S` seconds, until cancelled."""
        for look in itertools.count(1):
            await asyncio.sleep(CHECK_S)
            try:
                if look % CLOSER_EVERY == 0:
                    await self._make_groups_again()
                    await self._join_replicas()
                facts = await self._admin.facts()
                lost = facts.run_id != self._run_id or not await self._bus.hash_all(streams.INFO)
            except Unavailable:
                continue
            if lost:
                log.warning("redis started anew or lost its data; users and groups are made again", server=facts.name)
                await self.restore()

    async def _make_groups_again(self) -> None:
        """Somebody deleted a stream. Its reader cannot make it; that of an outbox or a live stream does."""
        names = self._fleet.names()
        keys = {key(name): name for name in names for key in (streams.inbox, streams.control)}
        for key in await self._admin.without_group(list(keys), streams.GROUP_HARNESS):
            log.warning("consumer group was gone, made again", stream=key)
            await self._bus.ensure_group(key, streams.GROUP_HARNESS)

    async def _join_replicas(self) -> None:
        """Users are not copied: a replica that is new, or started anew, must know them before it becomes primary."""
        if (await self._admin.replicas()) - self._replicas:
            log.info("a replica joined; users are made there")
            await self._restore()

    async def _restore(self) -> None:
        facts, self._replicas = await self._admin.facts(), await self._admin.replicas()
        await self._bus.load_functions()
        await self._principals.ensure_services()
        await self._fleet.restore()
        await self._fleet.note("redis", OPEN if await self._admin.is_open() else "")
        await self._fleet.note("socket", await asyncio.to_thread(why_closed, self._socket) if self._socket else "")
        self._run_id = facts.run_id


def why_closed(socket: Path) -> str:
    """Why agents with user ids of their own cannot reach it, as a sentence; empty when they can, or nobody can tell.

    They are given its folder: what is above that does not matter.
    """
    try:
        folder, mode = socket.parent.stat().st_mode, socket.stat().st_mode
    except OSError:
        return ""
    if not folder & stat.S_IXOTH:
        mend = f"chmod o+x {socket.parent}"
    elif not mode & stat.S_IWOTH:
        mend = f"chmod o+w {socket}, or unixsocketperm 777 in its configuration"
    else:
        return ""
    return (
        f"Agents have user ids of their own, and Redis' socket {socket} is closed to them: {mend}. Each has a password."
    )

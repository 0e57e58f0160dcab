"""Redis users: one for each agent and service, made before it first connects, made again when the server lost them."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from hive_contracts.names import OPERATOR
from hive_runtime import acl
from hive_runtime.bus import Bus, ensure_principal
from hive_runtime.passwords import PasswordFiles
from hive_runtime.redis_admin import RedisAdmin

SERVICES: Final = tuple(acl.SERVICE_RULES)
"""The services' Redis users."""

log = structlog.get_logger()


class Principals:
    """Passwords live in `secrets_dir`, one file per user, readable by this user only."""

    def __init__(self, admin: RedisAdmin, bus: Bus, secrets_dir: Path) -> None:
        self._admin = admin
        self._bus = bus
        self._files = PasswordFiles(secrets_dir)
        self._suspended: set[str] = set()
        self._removed: set[str] = set()
        self._replacing = asyncio.Lock()

    async def ensure_services(self) -> None:
        """The other services' users, and the operator's streams."""
        for user in (acl.BROKER, acl.DASHBOARD):
            await self._set(user, self._files.valid(user))
        await ensure_principal(self._bus, OPERATOR)
        await self._admin.save_users()

    async def ensure_agent(self, name: str) -> str:
        """The agent's streams and user; returns its password."""
        user = acl.agent_user(name)
        self._removed.discard(user)
        await ensure_principal(self._bus, name)
        await self._set(user, self._files.valid(user))
        await self._admin.save_users()
        return self._files.valid(user)[0]

    async def fresh_agent(self, name: str) -> str:
        """As `ensure_agent`, while it has no container: a password that is being replaced is good no more."""
        password = await self.ensure_agent(name)
        await self.drop_old(acl.agent_user(name))
        return password

    def is_replaced(self, user: str) -> bool:
        """Whether an old password of the user is good still."""
        return self._files.is_replaced(user)

    async def renew(self, user: str) -> None:
        """Give the user a new password; the old one is good until `drop_old`. May be repeated after any step."""
        async with self._replacing:
            if user in self._removed:
                return
            if new := self._files.begin(user):
                await self._set(user, (new, *self._files.valid(user)))
                self._files.write(user, new)
            await self._set(user, self._files.valid(user))  # who made it anew meanwhile went by what the files said
            await self._admin.save_users()

    async def drop_old(self, user: str) -> None:
        """The old password is refused, and who came in with it is put out. Nothing to do when there is none."""
        async with self._replacing:
            if user in self._removed or not self._files.is_replaced(user):
                return
            await self._set(user, self._files.valid(user)[:1])
            await self._admin.save_users()
            await self._admin.disconnect(user)
            if user == acl.SUPERVISOR:
                await self._admin.reconnect()
            self._files.end(user)

    async def suspend(self, name: str) -> None:
        """The agent cannot reach Redis until `resume`, or until the next supervisor. What it wrote stays."""
        self._suspended.add(name)
        user = acl.agent_user(name)
        await self._set(user, self._files.valid(user))
        await self._admin.disconnect(user)

    async def remove_agent(self, name: str) -> None:
        """Its user, its connections, its streams and its password are gone."""
        user = acl.agent_user(name)
        async with self._replacing:  # a rotation must not make it again
            self._removed.add(user)
            await self._admin.delete_user(user)  # ends its connections
            await self._admin.save_users()
        await self._admin.wipe(name)
        self._suspended.discard(name)
        self._files.remove(user)

    async def resume(self, name: str) -> None:
        self._suspended.discard(name)
        user = acl.agent_user(name)
        await self._set(user, self._files.valid(user))

    async def _set(self, user: str, passwords: Iterable[str]) -> None:
        await self._admin.set_user(user, self._rules(user, passwords))

    def _rules(self, user: str, passwords: Iterable[str]) -> tuple[str, ...]:
        suspended = user.removeprefix(acl.agent_user("")) in self._suspended
        return acl.rules_of(user, *passwords, database=self._admin.database, suspended=suspended)

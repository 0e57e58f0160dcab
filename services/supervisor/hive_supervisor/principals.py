"""Redis users: one for each agent and service, made before it first connects, made again when the server lost them."""

import secrets
from pathlib import Path

import structlog

from hive_contracts.names import OPERATOR
from hive_runtime import acl
from hive_runtime.bus import Bus, ensure_principal
from hive_runtime.redis_admin import RedisAdmin

log = structlog.get_logger()


class Principals:
    """Passwords live in `secrets_dir`, one file per user, readable by this user only."""

    def __init__(self, admin: RedisAdmin, bus: Bus, secrets_dir: Path) -> None:
        self._admin = admin
        self._bus = bus
        self._secrets_dir = secrets_dir

    async def ensure_services(self) -> None:
        """The other services' users, and the operator's streams."""
        await self._admin.set_user(acl.BROKER, acl.broker_rules(self._password(acl.BROKER)))
        await self._admin.set_user(acl.DASHBOARD, acl.dashboard_rules(self._password(acl.DASHBOARD)))
        await ensure_principal(self._bus, OPERATOR)
        await self._admin.save_users()

    async def ensure_agent(self, name: str) -> str:
        """The agent's streams and user; returns its password."""
        user = acl.agent_user(name)
        password = self._password(user)
        await ensure_principal(self._bus, name)
        await self._admin.set_user(user, acl.agent_rules(name, password))
        await self._admin.save_users()
        return password

    def _password(self, user: str) -> str:
        path = self._secrets_dir / f"redis-{user}"
        if not path.exists():
            self._secrets_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = path.with_suffix(".new")
            new.touch(mode=0o600)
            new.write_text(secrets.token_urlsafe(32))
            new.replace(path)
        return path.read_text().strip()

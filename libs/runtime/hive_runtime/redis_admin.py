"""What only an administrator of the Redis server does: users, and facts about the server itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_bus import call, connect
from hive_runtime.redis_url import RedisAddress

MINIMUM_VERSION: Final = (7, 0)
"""Valkey says 7.2.4 here, whatever its own number is."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """`run_id` changes with every start of the server. `name` is for people: `Valkey 9.1.2`, `Redis 7.0.15`."""

    run_id: str
    version: tuple[int, ...]
    name: str


class RedisAdmin:
    """Every method raises `BusUnavailable`, `BusFull` or `BusDenied`."""

    def __init__(self, address: RedisAddress) -> None:
        self._redis: Any = connect(address)

    async def facts(self) -> ServerFacts:
        info = await self._run("INFO", "server")
        version = str(info["redis_version"])
        own = info.get("valkey_version")
        name = f"Valkey {own}" if own else f"Redis {version}"
        return ServerFacts(str(info["run_id"]), tuple(int(part) for part in version.split(".")[:2]), name)

    async def set_user(self, name: str, rules: Sequence[str]) -> None:
        """Make the user, or give it exactly these rules. They hold at once, for open connections too."""
        words = [word for rule in rules for word in _words(rule)]
        await self._run("ACL SETUSER", name, *words)

    async def delete_user(self, name: str) -> None:
        await self._run("ACL DELUSER", name)

    async def users(self) -> list[str]:
        """The names of all users."""
        return [str(name) for name in await self._run("ACL USERS")]

    async def flush(self) -> None:
        """Lose all data, users excepted."""
        await self._run("FLUSHALL")

    async def save_users(self) -> None:
        """Keep the users over a restart, where the server has a file for them; else they are made again."""
        try:
            await self._run("ACL SAVE")
        except BusUnavailable as error:
            if "ACL file" not in str(error):
                raise

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _run(self, *words: str) -> Any:
        return await call(self._redis.execute_command(*words))


def _words(rule: str) -> list[str]:
    """A rule as the server takes it: a selector in parentheses is one word, others are split at blanks."""
    return [rule] if rule.startswith("(") else rule.split()

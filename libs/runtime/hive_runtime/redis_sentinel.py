"""The way to Redis through Sentinel: whoever is primary now, asked anew for each connection; and its replicas."""

from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel

from hive_runtime.redis_client import Client
from hive_runtime.redis_url import RedisAddress

ASK_TIMEOUT_S: Final = 1.0
"""Per Sentinel: one that is gone must not keep the others from being asked."""


_Sentinel: Final[Any] = Sentinel  # redis-py does not annotate it


class PrimaryClient(Client):
    """Its connections go to the primary; one that finds itself at a replica is given up, and the next asks again."""

    async def _close_all(self, close_connection_pool: bool | None) -> None:  # noqa: FBT001 - as `aclose`
        await super()._close_all(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()


def primary(address: RedisAddress, **options: Any) -> Redis:
    """`options` are those of each connection."""
    asking = {"socket_timeout": ASK_TIMEOUT_S, "socket_connect_timeout": ASK_TIMEOUT_S, "retry": options.get("retry")}
    sentinel: Any = _Sentinel(address.sentinels, sentinel_kwargs=asking | {"decode_responses": True})
    client: Redis = sentinel.master_for(address.service, redis_class=PrimaryClient, db=address.database, **options)
    return client


async def replicas(client: Redis) -> list[tuple[str, int]]:
    """Host and port of each that is there; none where `client` does not go through Sentinel."""
    pool: Any = client.connection_pool
    if not hasattr(pool, "sentinel_manager"):
        return []
    found = await pool.sentinel_manager.discover_slaves(pool.service_name)
    return [(str(host), int(port)) for host, port in found]

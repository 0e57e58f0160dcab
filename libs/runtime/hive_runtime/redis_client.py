"""redis-py's client, closed wholly whatever happens to who closes it."""

import asyncio

from redis.asyncio import Redis


class Client(Redis):
    """redis-py disconnects in tasks of their own: cancelled before they begin, they leave the connections open."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - redis-py's signature
        closing = asyncio.ensure_future(self._close_all(close_connection_pool))
        try:
            await asyncio.shield(closing)
        finally:
            await asyncio.wait([closing])

    async def _close_all(self, close_connection_pool: bool | None) -> None:  # noqa: FBT001 - as `aclose`
        await super().aclose(close_connection_pool)

"""One ungoverned hop of other libraries over Redis streams: a backlog, consumed and acknowledged one by one.

Neither checks, stamps, records or answers anything. Each is optional; what is missing is named.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import quote

from tests.support.redis_server import RedisServer

BODY: Final = "x" * 1024
WITHIN_S: Final = 300

Peer = Callable[[int], Awaitable[float]]
"""Messages per second over so many messages."""


def installed_peers(redis: RedisServer) -> dict[str, Peer]:
    found: dict[str, Peer] = {}
    for name, package, peer in (("FastStream", "faststream", _faststream), ("taskiq", "taskiq_redis", _taskiq)):
        if find_spec(package) is None:
            print(f"{name} is not installed: pip install 'hyperhive[bench]' -c constraints.txt")
            continue
        found[name] = lambda count, peer=peer: peer(_url(redis), count)  # type: ignore[misc]
    return found


def _url(redis: RedisServer) -> str:
    address = redis.address
    scheme, _, rest = address.url.partition("://")
    return f"{scheme}://{quote(address.username or '')}:{quote(address.password or '')}@{rest}"


class _Count:
    """Knows when the first and the last of `count` were handled."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._count = count
        self._began = 0.0
        self.done = asyncio.Event()
        self.rate = 0.0

    def one(self) -> None:
        self._began = self._began or time.perf_counter()
        self._left -= 1
        if self._left == 0:
            self.rate = (self._count - 1) / (time.perf_counter() - self._began)
            self.done.set()

    async def wait(self) -> float:
        async with asyncio.timeout(WITHIN_S):
            await self.done.wait()
        return self.rate


async def _faststream(url: str, count: int) -> float:
    from faststream.redis import RedisBroker, StreamSub  # noqa: PLC0415 - optional

    counted = _Count(count)
    name = f"faststream-{time.monotonic_ns()}"
    make: Any = RedisBroker
    broker = make(url, logger=None)

    @broker.subscriber(stream=StreamSub(name, group="g", consumer="c", max_records=100, last_id=">"))  # type: ignore[untyped-decorator]
    async def take(body: str) -> None:
        counted.one()

    await broker.connect()
    client = broker.config.connection.client if hasattr(broker, "config") else broker._connection
    await client.xgroup_create(name, "g", id="0", mkstream=True)
    for _ in range(count):
        await broker.publish(BODY, stream=name)
    await broker.start()
    try:
        return await counted.wait()
    finally:
        await broker.stop()


async def _taskiq(url: str, count: int) -> float:
    from taskiq.receiver import Receiver  # noqa: PLC0415 - optional
    from taskiq_redis import RedisStreamBroker  # noqa: PLC0415

    counted = _Count(count)
    broker: Any = RedisStreamBroker(url, queue_name=f"taskiq-{time.monotonic_ns()}")

    @broker.task  # type: ignore[untyped-decorator]
    async def take(body: str) -> None:
        counted.one()

    broker.is_worker_process = True
    await broker.startup()
    for _ in range(count):
        await take.kiq(BODY)
    finish = asyncio.Event()
    receiver = Receiver(broker, run_startup=False, max_async_tasks=100)
    listening = asyncio.ensure_future(receiver.listen(finish))
    try:
        return await counted.wait()
    finally:
        finish.set()
        listening.cancel()
        await asyncio.wait([listening])
        await broker.shutdown()

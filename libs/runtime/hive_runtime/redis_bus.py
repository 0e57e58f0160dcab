"""`Bus` over a real Redis 7 or Valkey 8. The only module that speaks redis-py to streams.

redis-py repeats commands by default and so writes twice, and its default time-out breaks long blocking reads: here no
connection retries, and a blocking one waits longer than it blocks (reference: Redis streams, traps).
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeVar

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_runtime.bus import BLOCK_MS, DEDUP_TTL_S, Ack, Batch, Delivery, Entry, Reader
from hive_runtime.errors import BusDenied, BusFull, BusLocked, BusUnavailable, LeaseLost, NoGroup
from hive_runtime.redis_url import RedisAddress

COMMAND_TIMEOUT_S: Final = 5.0
BLOCK_MARGIN_S: Final = 10.0
CANCEL_AGAIN_S: Final = 0.02

T = TypeVar("T")


def translate(error: Exception) -> Exception:
    """redis-py's error as ours."""
    text = str(error)
    if _is_about_password(error):
        return BusLocked(f"Redis refused the user or its password: {text}")
    if isinstance(error, exceptions.NoPermissionError):
        return BusDenied(f"Redis refused: {text}")
    if isinstance(error, exceptions.OutOfMemoryError) or text.startswith(("OOM", "MISCONF")):
        return BusFull(f"Redis takes no writes: {text}; free memory or disk space")
    if isinstance(error, exceptions.ResponseError) and "FENCED" in text:
        return LeaseLost("another harness owns this inbox now")
    away = f"Redis does not answer: {text or type(error).__name__}"
    return NoGroup(text) if "NOGROUP" in text else BusUnavailable(away)


def _is_about_password(error: BaseException | None) -> bool:
    """While it connects, redis-py wraps the refusal in a `ConnectionError`, or in two."""
    while error is not None and not isinstance(error, exceptions.AuthenticationError):
        error = error.__cause__
    return error is not None


async def call(command: Awaitable[T]) -> T:
    """Await one redis-py command; its errors become ours, and a cancellation stays one.

    redis-py sends under `asyncio.wait_for`, which on Python 3.11 forgets a cancellation that comes while the write
    completes: half of them in a test. A task that cannot be cancelled never ends.
    """
    task = asyncio.current_task()
    cancelled_before = task.cancelling() if task else 0
    failed = None
    try:
        result = await command
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        failed = error
    if task and task.cancelling() > cancelled_before:
        raise asyncio.CancelledError
    if failed:
        raise translate(failed) from failed
    return result


async def _call_waiting(command: Awaitable[T]) -> T:
    """As `call`, for a command that waits long: there, a forgotten cancellation is repeated, not waited out."""
    task = asyncio.ensure_future(call(command))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_S)
        if not task.cancelled():
            task.exception()  # seen, and of no interest any more
        raise


def connect(address: RedisAddress, *, timeout_s: float = COMMAND_TIMEOUT_S) -> Redis:
    """A client that never retries and gives up after `timeout_s`."""
    return Redis.from_url(
        address.url,
        username=address.username,
        password=address.password,
        decode_responses=True,
        encoding_errors="replace",  # an agent may write any bytes; reading them must not fail
        socket_timeout=timeout_s,
        socket_connect_timeout=COMMAND_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
        client_name=address.client_name,
    )


class RedisReader:
    """A blocking connection of its own."""

    def __init__(self, address: RedisAddress) -> None:
        self._redis: Any = connect(address, timeout_s=BLOCK_MS / 1000 + BLOCK_MARGIN_S)

    async def read_new(self, stream: str, group: str, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        block = block_ms or None  # 0 would block for ever
        reply = await _call_waiting(self._redis.xreadgroup(group, consumer, {stream: ">"}, count=count, block=block))
        return _entries(reply, redelivered=False)

    async def read_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        reply = await call(self._redis.xreadgroup(group, consumer, {stream: after}, count=count))
        return _entries(reply, redelivered=True)

    async def read_after(self, cursors: Mapping[str, str], *, count: int, block_ms: int) -> list[Entry]:
        reply = await _call_waiting(self._redis.xread(dict(cursors), count=count, block=block_ms or None))
        return _entries(reply, redelivered=False)

    async def aclose(self) -> None:
        await self._redis.aclose()


class RedisBus:
    """`load_functions` says whether this user may load the server-side functions when they are missing."""

    def __init__(self, address: RedisAddress, *, load_functions: bool = False) -> None:
        self._address = address
        self._redis: Any = connect(address)
        self._load_functions = load_functions

    def reader(self) -> Reader:
        return RedisReader(self._address)

    async def append(self, stream: str, envelope: Envelope) -> str:
        return str(await call(self._redis.xadd(stream, envelope.encode())))

    async def write(self, batch: Batch) -> None:
        appends, acks = self._redis.pipeline(transaction=False), self._redis.pipeline(transaction=False)
        for append in batch.appends:
            appends.xadd(append.stream, append.envelope.encode())
        for ack in batch.acks:
            _queue_ack(acks, ack)
        for pipeline in (appends, acks):  # one after the other: a full server refuses the first and takes the second
            await call(pipeline.execute())

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        try:
            return await self._deliver(deliveries)
        except BusUnavailable as error:
            if not (self._load_functions and "Function not found" in str(error)):
                raise
        await self.load_functions()
        return await self._deliver(deliveries)

    async def _deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        pipeline = self._redis.pipeline(transaction=False)
        for delivery in deliveries:
            keys = (streams.inbox(delivery.recipient), streams.dedup(delivery.recipient, delivery.key))
            fields = [part for pair in delivery.envelope.encode().items() for part in pair]
            pipeline.fcall("hive_deliver", len(keys), *keys, DEDUP_TTL_S, *fields)
        return [fresh == 1 for _, fresh in await call(pipeline.execute())]

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        keys = (streams.inbox(agent), streams.state(agent))
        await call(self._redis.fcall("hive_ack", len(keys), *keys, streams.GROUP_HARNESS, lease, *ids))

    async def load_functions(self) -> None:
        """Load `functions.lua`; harmless when it is there."""
        source = files("hive_runtime").joinpath("functions.lua").read_text()
        await call(self._redis.function_load(source, replace=True))

    async def ensure_group(self, stream: str, group: str) -> None:
        try:
            await call(self._redis.xgroup_create(stream, group, id="0", mkstream=True))
        except BusUnavailable as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def last_id(self, stream: str) -> str:
        newest = await call(self._redis.xrevrange(stream, count=1))
        return str(newest[0][0]) if newest else "0-0"

    async def depth(self, stream: str) -> int:
        return int(await call(self._redis.xlen(stream)))

    async def hash_set(self, key: str, fields: Mapping[str, str]) -> None:
        await call(self._redis.hset(key, mapping=dict(fields)))

    async def hash_delete(self, key: str, names: Sequence[str]) -> None:
        await call(self._redis.hdel(key, *names))

    async def hash_all(self, key: str) -> dict[str, str]:
        return dict(await call(self._redis.hgetall(key)))

    async def ping(self) -> None:
        await call(self._redis.ping())

    async def aclose(self) -> None:
        await self._redis.aclose()


def _queue_ack(pipeline: Any, ack: Ack) -> None:
    if not ack.ids:
        return
    pipeline.xack(ack.stream, ack.group, *ack.ids)
    if ack.delete:
        pipeline.xdel(ack.stream, *ack.ids)


def _entries(reply: Any, *, redelivered: bool) -> list[Entry]:
    """From redis-py's reply: a list of pairs under RESP2, a mapping to lists of lists under RESP3."""
    if not reply:
        return []
    if isinstance(reply, Mapping):
        found = [(stream, pair) for stream, groups in reply.items() for group in groups for pair in group]
    else:
        found = [(stream, pair) for stream, pairs in reply for pair in pairs]
    return [Entry(stream, pair[0], pair[1] or {}, redelivered) for stream, pair in found]

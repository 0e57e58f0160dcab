"""`Bus` over a real Redis 7 or Valkey 8. The only module that speaks to streams.

redis-py repeats commands by default and so writes twice, and its default time-out breaks long blocking reads: here no
connection retries, and a blocking one waits longer than it blocks (reference: Redis streams, traps).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from hiredis import pack_command
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.driver_info import DriverInfo

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_runtime.bus import BLOCK_MS, DEDUP_TTL_S, Ack, Batch, Delivery, Entry, Made, Member, Memory, Reader
from hive_runtime.errors import BusDenied, BusFull, BusLocked, BusUnavailable, LeaseLost, NoGroup
from hive_runtime.redis_client import Client
from hive_runtime.redis_link import RedisLink
from hive_runtime.redis_sentinel import primary
from hive_runtime.redis_url import RedisAddress, read_password
from hive_runtime.redis_wire import Command, Wire

COMMAND_TIMEOUT_S: Final = 5.0
BLOCK_MARGIN_S: Final = 10.0
MAX_HELD: Final = 1_000

_NO_WRITES: Final = re.compile(r"(^|caused error: \(?['\"]?)(OOM|MISCONF) ")
"""How the server begins such an answer; before it, redis-py names the command when it was one of a pipeline."""

T = TypeVar("T")

_PACKING: Final[dict[Any, Any]] = {}

_DRIVER: Final = DriverInfo()
"""What connections say of themselves: without it, redis-py looks for its own version on disk at each."""


def translate(error: Exception) -> Exception:
    """redis-py's error as ours."""
    text = str(error)
    if _is_about_password(error):
        return BusLocked(f"Redis refused the user or its password: {text}")
    if isinstance(error, exceptions.NoPermissionError):
        return BusDenied(f"Redis refused: {text}")
    if isinstance(error, exceptions.OutOfMemoryError) or _NO_WRITES.search(text):
        return BusFull(f"Redis takes no writes: {text.rstrip('.')}; free memory or disk space")
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

    redis-py clears up after a cancellation by closing the connection, and may fail meanwhile: the failure must not
    hide the cancellation. A task that cannot be cancelled never ends.
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


def connect(address: RedisAddress, *, timeout_s: float = COMMAND_TIMEOUT_S, decode: bool = True) -> Redis:
    """A client that never retries and gives up after `timeout_s`. Without `decode` its replies are bytes."""
    options: dict[str, Any] = {
        **_login(address),
        "decode_responses": decode,
        "encoding_errors": "replace",  # an agent may write any bytes; reading them must not fail
        "socket_timeout": timeout_s,
        "socket_connect_timeout": COMMAND_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "client_name": address.client_name,
        "driver_info": _DRIVER,
    }
    client = primary(address, **options) if address.sentinels else Client.from_url(address.url, **options)
    pool = client.connection_pool
    pool.connection_class = _packing(pool.connection_class)
    return client


def _login(address: RedisAddress) -> dict[str, Any]:
    if address.password_file:
        return {"credential_provider": _FromFile(address.username, address.password_file)}
    return {"username": address.username, "password": address.password}


class _FromFile(CredentialProvider):
    """Asked at each connection. Only what cannot be read at all is an error: a file is replaced whole."""

    def __init__(self, username: str | None, path: Path) -> None:
        self._username = username or "default"
        self._path = path

    def get_credentials(self) -> tuple[str, str]:
        return self._username, read_password(self._path)

    async def get_credentials_async(self) -> tuple[str, str]:
        """redis-py warns of a provider without it, at each connection."""
        return self.get_credentials()


def _packing(kind: Any) -> Any:
    """The connection class, with commands packed by hiredis: redis-py's own packing was a fifth of a broker's time."""
    if kind not in _PACKING:
        _PACKING[kind] = type(f"Packing{kind.__name__}", (_HiredisPacking, kind), {})
    return _PACKING[kind]


class _HiredisPacking:
    is_connected: bool
    socket_timeout: float | None
    connect_check_health: Any
    disconnect: Any
    _writer: Any

    def pack_command(self, *args: Any) -> list[bytes]:
        try:
            return [pack_command((*args[0].encode().split(), *args[1:]))]
        except (AttributeError, TypeError, UnicodeError):  # what only redis-py's own packing takes
            return cast(list[bytes], super().pack_command(*args))  # type: ignore[misc]

    def pack_commands(self, commands: Iterable[Iterable[Any]]) -> list[bytes]:
        return [b"".join(part for command in commands for part in self.pack_command(*command))]

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001 - redis-py's signature
    ) -> None:
        """As redis-py's, but for `asyncio.wait_for`.

        That makes a task of each sending, a third of what a command costs, and on Python 3.11 it forgets a
        cancellation that comes while the write completes: half of them in a test.
        """
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        data = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                self._writer.write(data if isinstance(data, bytes) else b"".join(data))
                await self._writer.drain()
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise exceptions.TimeoutError("Timeout writing to socket") from error
        except OSError as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError(f"Error while writing to socket: {error}") from error
        except BaseException:
            await self.disconnect(nowait=True)  # half a command may be on its way
            raise


async def load_functions(redis: Any) -> None:
    """Load `functions.lua`; harmless when it is there."""
    source = files("hive_runtime").joinpath("functions.lua").read_text()
    await call(redis.function_load(source, replace=True))


class RedisReader:
    """A blocking connection of its own."""

    def __init__(self, address: RedisAddress) -> None:
        timeout_s = BLOCK_MS / 1000 + BLOCK_MARGIN_S
        self._redis: Any = connect(address, timeout_s=timeout_s)
        self._wire = Wire(self._redis, timeout_s=timeout_s)

    async def read_new(self, stream: str, group: str, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        return await self.read_new_of([stream], group, consumer, count=count, block_ms=block_ms)

    async def read_new_of(
        self, several: Sequence[str], group: str, consumer: str, *, count: int, block_ms: int
    ) -> list[Entry]:
        options = ("GROUP", group, consumer, "COUNT", count, *_block(block_ms))
        command = ("XREADGROUP", *options, "STREAMS", *several, *(">" for _ in several))
        return _entries(await call(self._wire.one(*command)), redelivered=False)

    async def read_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        options = ("GROUP", group, consumer, "COUNT", count)
        return _entries(await call(self._wire.one("XREADGROUP", *options, "STREAMS", stream, after)), redelivered=True)

    async def read_after(self, cursors: Mapping[str, str], *, count: int, block_ms: int) -> list[Entry]:
        command = ("XREAD", "COUNT", count, *_block(block_ms), "STREAMS", *cursors, *cursors.values())
        return _entries(await call(self._wire.one(*command)), redelivered=False)

    async def aclose(self) -> None:
        await self._redis.aclose()


class RedisBus:
    """`load_functions` says whether this user may load the server-side functions when they are missing."""

    def __init__(self, address: RedisAddress, *, load_functions: bool = False) -> None:
        self._address = address
        self._redis: Any = connect(address)
        self._wire = Wire(self._redis, timeout_s=COMMAND_TIMEOUT_S)
        self._load_functions = load_functions
        self._link = RedisLink(self.ping)

    def reader(self) -> Reader:
        return RedisReader(self._address)

    async def append(self, stream: str, envelope: Envelope, *, at_most: int | None = None) -> str:
        bound = () if at_most is None else ("MAXLEN", str(at_most))
        return str(await call(self._wire.one("XADD", stream, *bound, "*", *_flat(envelope))))

    async def clear(self, stream: str, *, through: str | None = None) -> None:
        rule = ("MAXLEN", "0") if through is None else ("MINID", _next(through))
        await call(self._wire.one("XTRIM", stream, *rule))

    async def write(self, batch: Batch) -> None:
        envelopes = {id(append.envelope): append.envelope for append in batch.appends}  # one may go to several
        fields = {key: _flat(envelope) for key, envelope in envelopes.items()}
        appends = [("XADD", append.stream, "*", *fields[id(append.envelope)]) for append in batch.appends]
        acks = [command for ack in batch.acks for command in _ack_commands(ack)]
        for commands in (appends, acks):  # one after the other: a full server refuses the first and takes the second
            await call(self._wire.many(commands))

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        return await self._with_functions(lambda: self._deliver(deliveries))

    async def rewind(self, stream: str, group: str, *, to: str = "0-0") -> bool:
        return await self._with_functions(lambda: self._rewind(stream, group, to)) == 1

    async def _rewind(self, stream: str, group: str, to: str) -> int:
        return int(await call(self._redis.fcall("hive_rewind", 1, stream, group, to)))

    async def _with_functions(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except BusUnavailable as error:
            if not (self._load_functions and "Function not found" in str(error)):
                raise
        await self.load_functions()
        return await work()

    async def _deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        commands: list[Command] = []
        for delivery in deliveries:
            keys = (streams.inbox(delivery.recipient), streams.dedup(delivery.recipient, delivery.key))
            origin = f"{delivery.envelope.trace_id} {delivery.envelope.hop}"
            commands.append(("FCALL", "hive_deliver", len(keys), *keys, DEDUP_TTL_S, origin, *_flat(delivery.envelope)))
        return [fresh == 1 for _, fresh in await call(self._wire.many(commands))]

    async def made(self, keys: Sequence[tuple[str, str]]) -> list[Made | None]:
        commands = [("GET", streams.dedup(recipient, key)) for recipient, key in keys]
        return [None if text is None else Made.parse(text) for text in await call(self._wire.many(commands))]

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        keys = (streams.inbox(agent), streams.state(agent))
        await call(self._wire.one("FCALL", "hive_ack", len(keys), *keys, streams.GROUP_HARNESS, lease, *ids))

    async def touch(self, stream: str, group: str, consumer: str, ids: Sequence[str]) -> None:
        if ids:  # with JUSTID it is no further delivery
            await call(self._redis.xclaim(stream, group, consumer, 0, list(ids), justid=True))

    async def load_functions(self) -> None:
        """Load `functions.lua`; harmless when it is there."""
        await load_functions(self._redis)

    async def ensure_group(self, stream: str, group: str) -> None:
        try:
            await call(self._redis.xgroup_create(stream, group, id="0", mkstream=True))
        except BusUnavailable as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def join(self, instance: str, place_ms: int, view: str) -> list[Member]:
        found = await self._with_functions(
            lambda: call(self._redis.fcall("hive_join", 1, streams.BROKERS, instance, place_ms, view))
        )
        return [Member(found[index], found[index + 1]) for index in range(0, len(found), 2)]

    async def leave(self, instance: str) -> None:
        await call(self._redis.hdel(streams.BROKERS, instance))

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

    async def held(self, stream: str, group: str) -> dict[str, int]:
        pending = await call(self._redis.xpending_range(stream, group, min="-", max="+", count=MAX_HELD))
        return {str(found["message_id"]): int(found["time_since_delivered"]) for found in pending}

    async def is_read(self, stream: str, group: str) -> bool:
        if not await call(self._redis.exists(stream)):
            return False
        groups = {str(found["name"]): found for found in await call(self._redis.xinfo_groups(stream))}
        if group not in groups or groups[group]["pending"]:
            return False
        return not await call(self._redis.xrange(stream, min=f"({groups[group]['last-delivered-id']}", count=1))

    async def memory(self) -> Memory:
        info = await call(self._redis.info("memory"))
        return Memory(int(info.get("used_memory", 0)), int(info.get("maxmemory", 0)))

    async def until_back(self) -> None:
        await self._link.until_back()

    async def aclose(self) -> None:
        await self._redis.aclose()


def _flat(envelope: Envelope) -> list[str]:
    return [part for pair in envelope.encode().items() for part in pair]


def _next(entry_id: str) -> str:
    time, _, number = entry_id.partition("-")
    return f"{time}-{int(number or 0) + 1}"


def _block(block_ms: int) -> tuple[str | int, ...]:
    return ("BLOCK", block_ms) if block_ms else ()  # BLOCK 0 would wait for ever


def _ack_commands(ack: Ack) -> list[tuple[str, ...]]:
    if not ack.ids:
        return []
    deletion = [("XDEL", ack.stream, *ack.ids)] if ack.delete else []
    return [("XACK", ack.stream, ack.group, *ack.ids), *deletion]


def _entries(reply: Any, *, redelivered: bool) -> list[Entry]:
    """From the server's reply: a list of pairs under RESP2, a mapping under RESP3."""
    if not reply:
        return []
    pairs = reply.items() if isinstance(reply, Mapping) else reply
    return [Entry(stream, entry_id, _fields(flat), redelivered) for stream, found in pairs for entry_id, flat in found]


def _fields(flat: Sequence[str] | None) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True)) if flat else {}

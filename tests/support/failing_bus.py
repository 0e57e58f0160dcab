"""A bus whose n-th call fails, before or after it took effect: a crash between any two steps."""

from collections.abc import Mapping, Sequence

from hive_contracts.envelope import Envelope
from hive_runtime.bus import Batch, Bus, Delivery, Made, Member, Memory, Reader
from hive_runtime.errors import BusUnavailable


class FailingBus:
    """Passes everything on to `inner`. Call number `fail_at` (from 0) raises; `after`: only once it was carried out."""

    def __init__(self, inner: Bus, *, fail_at: int, after: bool = False) -> None:
        self._inner = inner
        self._left = fail_at
        self._after = after

    @property
    def failed(self) -> bool:
        return self._left < 0

    def _before(self) -> None:
        self._left -= 1
        if self._left == -1 and not self._after:
            raise BusUnavailable("lost before it was sent")

    def _done(self) -> None:
        if self._left == -1 and self._after:
            self._left -= 1
            raise BusUnavailable("the reply was lost")

    def reader(self) -> Reader:
        return self._inner.reader()

    async def append(self, stream: str, envelope: Envelope, *, at_most: int | None = None) -> str:
        self._before()
        entry_id = await self._inner.append(stream, envelope, at_most=at_most)
        self._done()
        return entry_id

    async def clear(self, stream: str, *, through: str | None = None) -> None:
        self._before()
        await self._inner.clear(stream, through=through)
        self._done()

    async def write(self, batch: Batch) -> None:
        """Each write counts as a step of its own."""
        for append in batch.appends:
            await self.append(append.stream, append.envelope)
        for ack in batch.acks:
            self._before()
            await self._inner.write(Batch(acks=[ack]))
            self._done()

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        fresh = []
        for delivery in deliveries:
            self._before()
            fresh += await self._inner.deliver([delivery])
            self._done()
        return fresh

    async def made(self, keys: Sequence[tuple[str, str]]) -> list[Made | None]:
        self._before()
        found = await self._inner.made(keys)
        self._done()
        return found

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        self._before()
        await self._inner.ack_leased(agent, lease, ids)
        self._done()

    async def touch(self, stream: str, group: str, consumer: str, ids: Sequence[str]) -> None:
        self._before()
        await self._inner.touch(stream, group, consumer, ids)
        self._done()

    async def ensure_group(self, stream: str, group: str) -> None:
        await self._inner.ensure_group(stream, group)

    async def rewind(self, stream: str, group: str, *, to: str = "0-0") -> bool:
        self._before()
        moved = await self._inner.rewind(stream, group, to=to)
        self._done()
        return moved

    async def join(self, instance: str, place_ms: int, view: str) -> list[Member]:
        return await self._inner.join(instance, place_ms, view)

    async def leave(self, instance: str) -> None:
        await self._inner.leave(instance)

    async def last_id(self, stream: str) -> str:
        return await self._inner.last_id(stream)

    async def depth(self, stream: str) -> int:
        return await self._inner.depth(stream)

    async def hash_set(self, key: str, fields: Mapping[str, str]) -> None:
        self._before()
        await self._inner.hash_set(key, fields)
        self._done()

    async def hash_delete(self, key: str, names: Sequence[str]) -> None:
        await self._inner.hash_delete(key, names)

    async def hash_all(self, key: str) -> dict[str, str]:
        self._before()
        found = await self._inner.hash_all(key)
        self._done()
        return found

    async def ping(self) -> None:
        await self._inner.ping()

    async def held(self, stream: str, group: str) -> dict[str, int]:
        return await self._inner.held(stream, group)

    async def is_read(self, stream: str, group: str) -> bool:
        return await self._inner.is_read(stream, group)

    async def memory(self) -> Memory:
        return await self._inner.memory()

    async def until_back(self) -> None:
        await self._inner.until_back()

    async def aclose(self) -> None:
        await self._inner.aclose()

"""`Bus` in memory: the twin that tests run on, held to the same conformance suite as `RedisBus`."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hive_contracts import streams
from hive_contracts.envelope import Envelope
from hive_runtime.bus import Ack, Batch, Delivery, Entry, Made, Member, Memory, Position, Reader, position
from hive_runtime.errors import LeaseLost, NoGroup

Take = Callable[[], list[Entry]]


@dataclass(slots=True)
class _Group:
    last: Position = (0, 0)
    pending: dict[str, str] = field(default_factory=dict)  # entry id → consumer


@dataclass(slots=True)
class _Stream:
    entries: dict[str, Mapping[str, str]] = field(default_factory=dict)
    groups: dict[str, _Group] = field(default_factory=dict)
    last: Position = (0, 0)

    def above(self, place: Position, count: int) -> list[str]:
        return list(itertools.islice((i for i in self.entries if position(i) > place), count))


class MemoryBus:
    """One process, one loop. Readers and `MemoryTrimmer` share its state. `room` is what `memory` says."""

    def __init__(self) -> None:
        self.room = Memory()
        self.streams: defaultdict[str, _Stream] = defaultdict(_Stream)
        self._hashes: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._keys: dict[str, Made] = {}
        self._places: dict[str, tuple[float, str]] = {}
        self._changed = asyncio.Condition()
        self._clock = itertools.count(1)

    def reader(self) -> Reader:
        return _MemoryReader(self)

    async def append(self, stream: str, envelope: Envelope, *, at_most: int | None = None) -> str:
        entry_id = self._append(stream, envelope)
        entries = self.streams[stream].entries
        while at_most is not None and len(entries) > at_most:
            del entries[next(iter(entries))]
        async with self._changed:
            self._changed.notify_all()
        return entry_id

    async def clear(self, stream: str, *, through: str | None = None) -> None:
        entries = self.streams[stream].entries
        gone = [one for one in entries if through is None or position(one) <= position(through)]
        for entry_id in gone:
            del entries[entry_id]

    def _append(self, stream: str, envelope: Envelope) -> str:
        place = (next(self._clock), 0)
        entry_id = f"{place[0]}-0"
        self.streams[stream].entries[entry_id] = envelope.encode()
        self.streams[stream].last = place
        return entry_id

    async def write(self, batch: Batch) -> None:
        for append in batch.appends:
            await self.append(append.stream, append.envelope)
        for ack in batch.acks:
            self._ack(ack)

    def _ack(self, ack: Ack) -> None:
        stream = self.streams[ack.stream]
        for entry_id in ack.ids:
            if ack.group in stream.groups:
                stream.groups[ack.group].pending.pop(entry_id, None)
            if ack.delete:
                stream.entries.pop(entry_id, None)

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        fresh = []
        for delivery in deliveries:
            key = streams.dedup(delivery.recipient, delivery.key)
            fresh.append(key not in self._keys)
            if key not in self._keys:
                envelope = delivery.envelope
                entry_id = await self.append(streams.inbox(delivery.recipient), envelope)
                self._keys[key] = Made(entry_id, envelope.trace_id, envelope.hop)
        return fresh

    async def made(self, keys: Sequence[tuple[str, str]]) -> list[Made | None]:
        return [self._keys.get(streams.dedup(recipient, key)) for recipient, key in keys]

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        if self._hashes[streams.state(agent)].setdefault(streams.LEASE_FIELD, lease) != lease:
            raise LeaseLost("another harness owns this inbox now")
        self._ack(Ack(streams.inbox(agent), streams.GROUP_HARNESS, ids, delete=True))

    async def touch(self, stream: str, group: str, consumer: str, ids: Sequence[str]) -> None:
        """Nothing here measures idleness."""
        pending = self.streams[stream].groups[group].pending
        pending.update({entry_id: consumer for entry_id in ids if entry_id in pending})

    async def ensure_group(self, stream: str, group: str) -> None:
        self.streams[stream].groups.setdefault(group, _Group())

    async def rewind(self, stream: str, group: str, *, to: str = "0-0") -> bool:
        held = self.streams[stream].groups.setdefault(group, _Group())
        place = position(to)
        if held.last <= place:
            return False
        if held.pending:
            lowest = min(map(position, held.pending))
            before = [p for p in map(position, self.streams[stream].entries) if p < lowest]
            place = min(place, max(before, default=(0, 0)))
        self.streams[stream].groups[group] = _Group(last=place)
        async with self._changed:
            self._changed.notify_all()
        return True

    async def join(self, instance: str, place_ms: int, view: str) -> list[Member]:
        now = time.monotonic()
        self._places = {one: place for one, place in self._places.items() if place[0] > now}
        self._places[instance] = (now + place_ms / 1000, view)
        return [Member(one, place[1]) for one, place in self._places.items()]

    async def leave(self, instance: str) -> None:
        self._places.pop(instance, None)

    async def last_id(self, stream: str) -> str:
        entries = self.streams[stream].entries
        return next(reversed(entries)) if entries else "0-0"

    async def depth(self, stream: str) -> int:
        return len(self.streams[stream].entries)

    async def hash_set(self, key: str, fields: Mapping[str, str]) -> None:
        self._hashes[key].update(fields)

    async def hash_delete(self, key: str, names: Sequence[str]) -> None:
        for name in names:
            self._hashes[key].pop(name, None)

    async def hash_all(self, key: str) -> dict[str, str]:
        return dict(self._hashes[key])

    async def ping(self) -> None:
        return None

    async def held(self, stream: str, group: str) -> dict[str, int]:
        found = self.streams[stream].groups.get(group)
        return dict.fromkeys(found.pending, 0) if found else {}

    async def is_read(self, stream: str, group: str) -> bool:
        found = self.streams[stream].groups.get(group)
        return found is not None and not found.pending and not self.streams[stream].above(found.last, 1)

    async def memory(self) -> Memory:
        return self.room

    async def until_back(self) -> None:
        return None

    async def aclose(self) -> None:
        return None

    async def flush(self) -> None:
        """Lose everything, as FLUSHALL does."""
        self.streams.clear()
        self._hashes.clear()
        self._keys.clear()
        async with self._changed:
            self._changed.notify_all()


class _MemoryReader:
    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def read_new(self, stream: str, group: str, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        return await self.read_new_of([stream], group, consumer, count=count, block_ms=block_ms)

    async def read_new_of(
        self, several: Sequence[str], group: str, consumer: str, *, count: int, block_ms: int
    ) -> list[Entry]:
        def take() -> list[Entry]:
            groups = [(stream, self._group(stream, group)) for stream in several]
            return [entry for stream, held in groups for entry in self._take(stream, held, consumer, count)]

        return await self._wait(take, block_ms)

    def _take(self, stream: str, held: _Group, consumer: str, count: int) -> list[Entry]:
        found = self._bus.streams[stream].above(held.last, count)
        for entry_id in found:
            held.last = position(entry_id)
            held.pending[entry_id] = consumer
        return [Entry(stream, i, self._bus.streams[stream].entries[i]) for i in found]

    async def read_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        held = self._group(stream, group)
        mine = sorted((i for i, owner in held.pending.items() if owner == consumer), key=position)
        found = [i for i in mine if position(i) > position(after)][:count]
        return [Entry(stream, i, self._bus.streams[stream].entries.get(i, {}), redelivered=True) for i in found]

    async def read_after(self, cursors: Mapping[str, str], *, count: int, block_ms: int) -> list[Entry]:
        def take() -> list[Entry]:
            return [
                Entry(stream, i, self._bus.streams[stream].entries[i])
                for stream, after in cursors.items()
                for i in self._bus.streams[stream].above(position(after), count)
            ]

        return await self._wait(take, block_ms)

    async def aclose(self) -> None:
        return None

    def _group(self, stream: str, group: str) -> _Group:
        if group not in self._bus.streams[stream].groups:
            raise NoGroup(f"NOGROUP {group} of {stream}")
        return self._bus.streams[stream].groups[group]

    async def _wait(self, take: Take, block_ms: int) -> list[Entry]:
        found = take()
        if found or not block_ms:
            return found
        try:
            async with asyncio.timeout(block_ms / 1000), self._bus._changed:
                while not (found := take()):
                    await self._bus._changed.wait()
        except TimeoutError:
            return []
        return found

"""The bus: what services need of Redis streams, as a protocol with two implementations.

`RedisBus` speaks to a server; `MemoryBus` is its twin for tests. One conformance suite runs over both.
Above them stand `Consumer` (a consumer group's reader that never strands an entry) and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from hive_contracts import streams
from hive_contracts.envelope import Envelope

BLOCK_MS: Final = 25_000
"""How long one blocking read waits, in milliseconds. Long, because a blocked connection costs nothing."""

DEDUP_TTL_S: Final = 24 * 3600
"""How long an idempotency key is remembered, in seconds."""


Position = tuple[int, int]


def position(entry_id: str) -> Position:
    """An entry id, to be compared."""
    time, _, number = entry_id.partition("-")
    return int(time), int(number or 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream entry. `fields` is empty when the entry was trimmed while pending."""

    stream: str
    id: str
    fields: Mapping[str, str]
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the server, in bytes. `limit` 0: none is set."""

    used: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """An envelope for an inbox, delivered once per `key` however often it is asked for."""

    recipient: str
    key: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Made:
    """What an idempotency key has made: the inbox's entry, and where in its conversation that stands."""

    entry_id: str
    trace_id: str = ""
    hop: int = 0

    @classmethod
    def parse(cls, text: str) -> "Made":
        entry_id, _, origin = text.partition(" ")
        trace_id, _, hop = origin.rpartition(" ")
        return cls(entry_id, trace_id, int(hop) if hop.isdecimal() else 0)


@dataclass(frozen=True, slots=True)
class Member:
    """A broker that is alive. `view`: whom it last knew to be alive, when it had stopped what is not its own."""

    instance: str
    view: str


@dataclass(frozen=True, slots=True)
class Append:
    stream: str
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes in order, acks only when every append succeeded; each write is atomic, the batch is not."""

    appends: Sequence[Append] = ()
    acks: Sequence["Ack"] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge `ids` of `stream`; `delete` also removes them (streams with one group)."""

    stream: str
    group: str
    ids: Sequence[str] = field(default=())
    delete: bool = False


class GroupReader(Protocol):
    """What a consumer needs to read its stream. Not for concurrent use."""

    async def read_new(self, stream: str, group: str, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Entries no consumer has had. Empty after `block_ms`; 0 does not wait. Raises `NoGroup`."""
        ...

    async def read_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        """This consumer's unacknowledged entries above `after` (`0` for all), marked redelivered."""
        ...

    async def aclose(self) -> None: ...


class Reader(GroupReader, Protocol):
    """A connection of its own for blocking reads."""

    async def read_new_of(
        self, several: Sequence[str], group: str, consumer: str, *, count: int, block_ms: int
    ) -> list[Entry]:
        """`read_new` of several streams, each with a group of that name; up to `count` of each, stream by stream."""
        ...

    async def read_after(self, cursors: Mapping[str, str], *, count: int, block_ms: int) -> list[Entry]:
        """Entries above each stream's cursor, without a group."""
        ...


class Bus(Protocol):
    """Every method raises `BusUnavailable`, `BusFull` or `BusDenied`; none retries by itself."""

    def reader(self) -> Reader: ...

    async def append(self, stream: str, envelope: Envelope, *, at_most: int | None = None) -> str:
        """Returns the entry's id. After a lost reply a repeated call writes twice: readers dedup by envelope id.

        `at_most`: the newest so many stay, others go, read or not; only for streams without groups.
        """
        ...

    async def clear(self, stream: str, *, through: str | None = None) -> None:
        """Remove every entry, or those up to this one; only for streams without groups."""
        ...

    async def write(self, batch: Batch) -> None: ...

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Append each to its recipient's inbox once; True where this call did it, False where it was there."""
        ...

    async def made(self, keys: Sequence[tuple[str, str]]) -> list[Made | None]:
        """For each (recipient, key) what `deliver` made under it; None for nothing, or longer ago than it is kept."""
        ...

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        """Acknowledge and delete inbox entries of `agent`. Raises `LeaseLost` when `lease` is no longer the owner's.

        A lease that the server has lost is taken.
        """
        ...

    async def touch(self, stream: str, group: str, consumer: str, ids: Sequence[str]) -> None:
        """`consumer` still works on these pending entries: they have been idle for no time. Others are left alone.

        So an entry that was idle for long belongs to a consumer that is dead, and not to one that is slow.
        """
        ...

    async def ensure_group(self, stream: str, group: str) -> None:
        """Make stream and group, reading from the start, unless they are there."""
        ...

    async def rewind(self, stream: str, group: str, *, to: str = "0-0") -> bool:
        """Have the group hand out again, as new, what is above `to` and all that is pending; False: it was not past.

        For a group whose reader keeps what it reads in a store, which may have lost something: `to` is the last entry
        that the store holds. A group is never moved forward; one that is missing is made, and reads from the start.
        """
        ...

    async def join(self, instance: str, place_ms: int, view: str) -> list[Member]:
        """Take or renew a place among the brokers, for so long; returns all that are alive, the first to come first."""
        ...

    async def leave(self, instance: str) -> None: ...

    async def last_id(self, stream: str) -> str:
        """The newest entry's id, `0-0` for an empty stream: a cursor from which `read_after` misses nothing."""
        ...

    async def depth(self, stream: str) -> int:
        """How many entries the stream holds."""
        ...

    async def hash_set(self, key: str, fields: Mapping[str, str]) -> None: ...

    async def hash_delete(self, key: str, names: Sequence[str]) -> None: ...

    async def hash_all(self, key: str) -> dict[str, str]: ...

    async def ping(self) -> None: ...

    async def held(self, stream: str, group: str) -> dict[str, int]:
        """Pending entries, oldest first, up to 1,000 → milliseconds since their consumer last took or kept them."""
        ...

    async def is_read(self, stream: str, group: str) -> bool:
        """Whether the group has had, and acknowledged, all that the stream holds; False while one is not there."""
        ...

    async def memory(self) -> Memory:
        """How much the server holds, and may hold."""
        ...

    async def until_back(self) -> None:
        """After `BusUnavailable`: returns once the server answers, for everyone of this process who waits for it."""
        ...

    async def aclose(self) -> None: ...


PRINCIPAL_GROUPS: Final = (
    (streams.outbox, streams.GROUP_BROKER),
    (streams.live, streams.GROUP_RECORDER),
    (streams.inbox, streams.GROUP_HARNESS),
    (streams.control, streams.GROUP_HARNESS),
)


async def ensure_principal(bus: Bus, name: str) -> None:
    """Make the streams and groups of one principal; needed before its harness, which may not make any, can read."""
    for stream, group in PRINCIPAL_GROUPS:
        await bus.ensure_group(stream(name), group)

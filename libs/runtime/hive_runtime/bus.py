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


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream entry. `fields` is empty when the entry was trimmed while pending."""

    stream: str
    id: str
    fields: Mapping[str, str]
    redelivered: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """An envelope for an inbox, delivered once per `key` however often it is asked for."""

    recipient: str
    key: str
    envelope: Envelope


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


class Reader(Protocol):
    """A connection of its own for blocking reads. Not for concurrent use."""

    async def read_new(self, stream: str, group: str, consumer: str, *, count: int, block_ms: int) -> list[Entry]:
        """Entries no consumer has had. Empty after `block_ms`; 0 does not wait. Raises `NoGroup`."""
        ...

    async def read_pending(self, stream: str, group: str, consumer: str, *, after: str, count: int) -> list[Entry]:
        """This consumer's unacknowledged entries above `after` (`0` for all), marked redelivered."""
        ...

    async def read_after(self, cursors: Mapping[str, str], *, count: int, block_ms: int) -> list[Entry]:
        """Entries above each stream's cursor, without a group."""
        ...

    async def aclose(self) -> None: ...


class Bus(Protocol):
    """Every method raises `BusUnavailable`, `BusFull` or `BusDenied`; none retries by itself."""

    def reader(self) -> Reader: ...

    async def append(self, stream: str, envelope: Envelope) -> str:
        """Returns the entry's id. After a lost reply a repeated call writes twice: readers dedup by envelope id."""
        ...

    async def write(self, batch: Batch) -> None: ...

    async def deliver(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Append each to its recipient's inbox once; True where this call did it, False where it was there."""
        ...

    async def ack_leased(self, agent: str, lease: str, ids: Sequence[str]) -> None:
        """Acknowledge and delete inbox entries of `agent`. Raises `LeaseLost` when `lease` is no longer the owner's."""
        ...

    async def ensure_group(self, stream: str, group: str) -> None:
        """Make stream and group, reading from the start, unless they are there."""
        ...

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

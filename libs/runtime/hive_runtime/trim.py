"""Trimming a stream: what may go of it, and what a trimmer does. `redis_trim` does it on a server, `memory_trim` beside
the bus in memory; one suite holds both to the same."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

TRIM_LIMIT: Final = 2_000
"""Entries deleted in one call: about half a millisecond, in which no other client is served."""

LAST_ID: Final = "18446744073709551615-18446744073709551615"


@dataclass(frozen=True, slots=True)
class TrimRule:
    """What may go of a stream: entries that all groups are done with, under `below`, but never the newest `keep`.

    While one of `groups` does not exist, nothing may go: its reader has not had anything yet.
    """

    below: str = LAST_ID
    keep: int = 0
    groups: Sequence[str] = ()


class Trimmer(Protocol):
    """Every method raises `BusUnavailable`, `BusFull` or `BusDenied`."""

    async def streams(self) -> list[str]:
        """The names of all of the hive's streams, whoever they belong to."""
        ...

    async def length(self, stream: str) -> int: ...

    async def size(self, stream: str) -> int:
        """Its memory in bytes, about; 0 where nobody says."""
        ...

    def trim(self, stream: str, rule: TrimRule) -> AsyncIterator[int]:
        """Delete all that may go; yields how much each call did, and leaves the server to others after each."""
        ...

    async def count_done(self, stream: str, rule: TrimRule) -> int:
        """How many entries `trim` would delete now."""
        ...

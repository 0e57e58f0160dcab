"""`Trimmer` over a `MemoryBus`: the twin that tests run on, held to the same suite as the one on a server."""

from collections.abc import AsyncIterator

from hive_runtime.bus import position
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.trim import TRIM_LIMIT, TrimRule


class MemoryTrimmer:
    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    async def streams(self) -> list[str]:
        return sorted(self._bus.streams)

    async def length(self, stream: str) -> int:
        return len(self._bus.streams[stream].entries)

    async def size(self, stream: str) -> int:
        return sum(len(text) for fields in self._bus.streams[stream].entries.values() for text in fields.values())

    async def trim(self, stream: str, rule: TrimRule) -> AsyncIterator[int]:
        while done := self._done(stream, rule)[:TRIM_LIMIT]:
            for entry_id in done:
                del self._bus.streams[stream].entries[entry_id]
            yield len(done)

    async def count_done(self, stream: str, rule: TrimRule) -> int:
        return len(self._done(stream, rule))

    def _done(self, stream: str, rule: TrimRule) -> list[str]:
        """Those that may go, oldest first."""
        held = self._bus.streams[stream]
        if not held.groups.keys() >= set(rule.groups):
            return []
        undone = [min(map(position, group.pending), default=_next(group.last)) for group in held.groups.values()]
        bound = min([position(rule.below), *undone])
        spare = max(0, len(held.entries) - rule.keep)
        return [entry_id for entry_id in held.entries if position(entry_id) < bound][:spare]


def _next(place: tuple[int, int]) -> tuple[int, int]:
    return place[0], place[1] + 1

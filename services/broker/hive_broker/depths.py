"""How many messages wait in each inbox: never less than there are, and mostly without asking the server."""

from hive_contracts import streams
from hive_runtime.bus import Bus


class Depths:
    """One for all outboxes. Harnesses only take away, so what was read once plus what was added is an upper bound.

    It is read again only when it reaches `soft`. Each of two brokers may be wrong by what the other added since.
    """

    def __init__(self, bus: Bus, soft: int) -> None:
        self._bus = bus
        self._soft = soft
        self._bounds: dict[str, int] = {}

    async def at_most(self, name: str, *, on_the_way: int) -> int:
        """`on_the_way`: messages that were added here and are not in the inbox yet. Raises `Unavailable`."""
        if self._bounds.get(name, self._soft) >= self._soft:
            self._bounds[name] = await self._bus.depth(streams.inbox(name)) + on_the_way
        return self._bounds[name]

    def add(self, name: str) -> None:
        self._bounds[name] = self._bounds.get(name, self._soft) + 1

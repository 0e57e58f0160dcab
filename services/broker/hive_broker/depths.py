"""How many messages wait in each inbox: never less than there are, and mostly without asking the server."""

from hive_contracts import streams
from hive_contracts.errors import InboxFull
from hive_runtime.bus import Bus


class Depths:
    """One for all outboxes. Harnesses only take away, so what was read once plus what was added is an upper bound.

    It is read again only when it reaches `soft`. Each of two brokers may be wrong by what the other added since.
    """

    def __init__(self, bus: Bus, soft: int) -> None:
        self._bus = bus
        self._soft = soft
        self._bounds: dict[str, int] = {}

    async def at_most(self, name: str, *, on_the_way: int, asked: set[str] | None = None) -> int:
        """`on_the_way`: messages that were added here and are not in the inbox yet. Raises `Unavailable`.

        `asked`: inboxes that were asked for a moment ago; once is enough, also for those that are nearly full.
        """
        if self._bounds.get(name, self._soft) >= self._soft and (asked is None or name not in asked):
            self._bounds[name] = await self._bus.depth(streams.inbox(name)) + on_the_way
            if asked is not None:
                asked.add(name)
        return self._bounds[name]

    async def check(self, name: str, *, on_the_way: int, hard: int, asked: set[str] | None = None) -> int:
        """As `at_most`. Raises `InboxFull` at `hard`."""
        depth = await self.at_most(name, on_the_way=on_the_way, asked=asked)
        if depth >= hard:
            raise InboxFull(f"{depth} messages wait in the inbox of {name}, which takes no more; send later")
        return depth

    def add(self, name: str) -> None:
        self._bounds[name] = self._bounds.get(name, self._soft) + 1

"""Nothing that was typed into a terminal, and nothing old that it showed, stays in Redis, whoever left it there.

The end of a session empties both streams where somebody looks, and turning the terminal off does; a browser that left,
a dashboard that was killed and a container that is gone do not.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from hive_contracts import streams
from hive_dashboard.snapshot import Snapshots
from hive_dashboard.store_terminals import TerminalSwitches
from hive_runtime.bus import Bus
from hive_runtime.errors import BusUnavailable

EVERY_S: Final = 60.0
SCREEN_SWEEPS: Final = 30
"""What was shown is kept for so many sweeps, for a browser that comes back; what was typed for one."""


class TerminalSweep:
    """What was there at a former sweep goes at this one: Redis' own ids, and nobody's clock."""

    def __init__(self, bus: Bus, terminals: TerminalSwitches, snapshots: Snapshots) -> None:
        self._bus = bus
        self._terminals = terminals
        self._snapshots = snapshots
        self._newest: dict[str, list[str]] = {}  # stream → its newest entry at the former sweeps, the oldest first

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.sweep()
            except BusUnavailable:
                await self._bus.until_back()
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> None:
        agents = [agent.name for agent in self._snapshots.current.agents if self._terminals.is_on(agent)]
        kept = dict(self._rules(agents))
        self._newest = {stream: ids for stream, ids in self._newest.items() if stream in kept}
        for stream, sweeps in kept.items():
            await self._clear(stream, sweeps)

    def _rules(self, agents: Iterable[str]) -> Iterable[tuple[str, int]]:
        for agent in agents:
            yield streams.keys(agent), 1
            yield streams.screen(agent), SCREEN_SWEEPS

    async def _clear(self, stream: str, sweeps: int) -> None:
        ids = self._newest.setdefault(stream, [])
        if len(ids) >= sweeps:
            await self._bus.clear(stream, through=ids.pop(0))
        ids.append(await self._bus.last_id(stream))

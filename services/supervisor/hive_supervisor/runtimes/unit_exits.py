"""From what systemd says of units to the ends of containers, each told once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing

from hive_supervisor.runtimes.base import ContainerExit
from hive_supervisor.runtimes.systemd_bus import SystemdBus
from hive_supervisor.runtimes.systemd_units import UnitState


class UnitExits:
    """Of the units whose names begin with `prefix`; `exit_of` makes the exit of one that ended."""

    def __init__(self, bus: SystemdBus, prefix: str, exit_of: Callable[[UnitState], ContainerExit]) -> None:
        self._bus = bus
        self._prefix = prefix
        self._exit_of = exit_of
        self._running: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._ends: asyncio.Queue[ContainerExit] = asyncio.Queue()

    def begin(self, states: Iterable[UnitState]) -> None:
        """What ended before is not told."""
        for state in states:
            if state.has_ended:
                self._told[state.name] = state.invocation

    def note(self, state: UnitState) -> None:
        """Tell its end, unless that was told. A run is known by its invocation."""
        if state.runs:
            self._running[state.name] = state.invocation
            return
        invocation = state.invocation or self._running.get(state.name, "")
        over = state.has_ended or not state.loaded
        if over and invocation and self._told.get(state.name) != invocation:
            self._told[state.name] = invocation
            self._ends.put_nowait(self._exit_of(state))

    async def watch(self) -> AsyncIterator[ContainerExit]:
        following = asyncio.ensure_future(self._follow())
        try:
            while True:
                coming = asyncio.ensure_future(self._ends.get())
                await asyncio.wait({coming, following}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    following.result()
                yield coming.result()
        finally:
            following.cancel()
            await asyncio.wait({following})

    async def _follow(self) -> None:
        async with aclosing(self._bus.changes(self._prefix)) as states:
            async for state in states:
                self.note(state)

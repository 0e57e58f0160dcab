"""`ContainerRuntime` in memory: the twin that tests run on."""

import asyncio
from collections.abc import AsyncIterator

from hive_supervisor.runtimes.base import ContainerExit, ContainerSpec


class MemoryRuntime:
    """`started` lists every start; `crash` ends a container unasked."""

    isolation = "in memory"
    warning = ""

    def __init__(self) -> None:
        self.started: list[ContainerSpec] = []
        self._running: set[str] = set()
        self._exits: asyncio.Queue[ContainerExit] = asyncio.Queue()

    async def start(self, spec: ContainerSpec) -> None:
        if spec.name not in self._running:
            self._running.add(spec.name)
            self.started.append(spec)

    async def stop(self, name: str, *, grace_s: float) -> None:
        if name in self._running:
            self.crash(name, status=0)

    async def running(self) -> set[str]:
        return set(self._running)

    async def exits(self) -> AsyncIterator[ContainerExit]:
        while True:
            yield await self._exits.get()

    async def aclose(self) -> None:
        return None

    def crash(self, name: str, *, status: int) -> None:
        """The container ends with `status`."""
        self._running.discard(name)
        self._exits.put_nowait(ContainerExit(name, status, uptime_s=1.0))

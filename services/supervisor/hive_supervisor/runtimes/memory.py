"""`ContainerRuntime` in memory: the twin that tests run on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from signal import SIGKILL

from hive_supervisor.errors import CannotStart
from hive_supervisor.runtimes.base import Container, ContainerExit, ContainerSpec, Executed, Usage, User

Program = Callable[[ContainerSpec], int | None]
"""What runs in a container: None goes on until it is ended, a number ends at once with that status."""


@dataclass(slots=True)
class MemoryMachine:
    """What outlives a runtime object: containers, what they printed, and every start."""

    specs: dict[str, ContainerSpec] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)
    printed: dict[str, list[str]] = field(default_factory=dict)
    started: list[ContainerSpec] = field(default_factory=list)


class MemoryRuntime:
    """`started` lists every start; `crash` ends a container unasked."""

    name = "memory"
    isolation = "in memory"
    warning = ""

    def __init__(self, machine: MemoryMachine | None = None, program: Program = lambda _: None) -> None:
        self._machine = machine or MemoryMachine()
        self._program = program
        self._ends: asyncio.Queue[ContainerExit] = asyncio.Queue()

    @property
    def started(self) -> list[ContainerSpec]:
        return self._machine.started

    async def create(self, spec: ContainerSpec) -> None:
        before = self._machine.containers.get(spec.name)
        if before is None or not before.running:
            self._machine.specs[spec.name] = spec
            self._machine.containers[spec.name] = replace(
                before or Container(spec.name, running=False), image=spec.image
            )

    async def start(self, name: str) -> None:
        if name not in self._machine.containers:
            raise CannotStart(f"the container of {name} was not created")
        if self._runs(name):
            return
        spec = self._machine.specs[name]
        self._machine.containers[name] = Container(name, running=True, since=datetime.now(UTC), image=spec.image)
        self._machine.started.append(spec)
        self.say(name, f"started {spec.environment.get('TOKEN', '')}".rstrip())
        if (status := self._program(spec)) is not None:
            self.crash(name, status=status)

    async def stop(self, name: str, *, grace_s: float) -> None:
        if self._runs(name):
            stubborn = self._machine.specs[name].environment.get("STUBBORN")
            self.crash(name, status=128 + SIGKILL if stubborn else 0)

    async def kill(self, name: str, signal: int = SIGKILL) -> None:
        if self._runs(name):
            self.crash(name, status=128 + signal)

    async def remove(self, name: str) -> None:
        await self.kill(name)
        for kept in (self._machine.specs, self._machine.containers, self._machine.printed):
            kept.pop(name, None)

    async def list(self) -> dict[str, Container]:
        return dict(self._machine.containers)

    async def exec(
        self, name: str, command: Sequence[str], *, user: User = User.ENGINE, timeout_s: float = 30
    ) -> Executed:
        """It knows `echo`, and how to fail."""
        if not self._runs(name):
            raise CannotStart(f"the container of {name} does not run")
        return Executed(0, " ".join(command[1:]) + "\n") if command[0] == "echo" else Executed(127, "")

    async def logs(self, name: str, lines: int) -> tuple[str, ...]:
        return tuple(self._machine.printed.get(name, [])[-lines:])

    async def watch(self) -> AsyncIterator[ContainerExit]:
        while True:
            yield await self._ends.get()

    async def usage(self, name: str) -> Usage:
        return Usage(memory_bytes=1024, cpu_s=0.0, pids=1) if self._runs(name) else Usage()

    async def aclose(self) -> None:
        return None

    def say(self, name: str, line: str) -> None:
        """The container prints `line`."""
        self._machine.printed.setdefault(name, []).append(line)

    def crash(self, name: str, *, status: int, oom: bool = False) -> None:
        """The container ends with `status`."""
        end = ContainerExit(name, status, uptime_s=1.0, oom=oom)
        self._machine.containers[name] = replace(self._machine.containers[name], running=False, exit=end)
        self._ends.put_nowait(end)

    def _runs(self, name: str) -> bool:
        found = self._machine.containers.get(name)
        return found is not None and found.running

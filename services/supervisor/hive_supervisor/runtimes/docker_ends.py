"""How containers of an engine end: whoever ran and runs no more has ended, whether the event of it was seen or not."""

import asyncio
import signal as signals
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts.errors import HiveError
from hive_runtime.backoff import Backoff
from hive_supervisor.runtimes.base import ContainerExit
from hive_supervisor.runtimes.docker_api import ContainerInfo, DockerApi, Event
from hive_supervisor.runtimes.docker_config import HIVE

OOM_S: Final = 10
"""An end so soon after the kernel ended something in it for its memory, in seconds, is that."""

_NEVER: Final = datetime.min.replace(tzinfo=UTC)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Run:
    """A container that was seen running, or is being started. `before`: when the run before it began."""

    container: str
    before: datetime = _NEVER


class DockerEnds:
    """Every end is told once. `shortages`: when something in a container ran out of memory last, in seconds since 1970,
    by the container's id."""

    def __init__(self, api: DockerApi, hive_id: str) -> None:
        self.shortages: dict[str, float] = {}
        self._api = api
        self._hive_id = hive_id
        self._runs: dict[str, Run] = {}
        self._ends: asyncio.Queue[ContainerExit] = asyncio.Queue()

    def running(self, name: str, container: str) -> None:
        """It was seen."""
        self._runs.setdefault(name, Run(container))

    def starting(self, name: str, info: ContainerInfo) -> Run:
        run = self._runs[name] = Run(info.id, before=info.state.started_at)
        return run

    def not_started(self, name: str, run: Run) -> None:
        """It does not begin after all, so it does not end either."""
        if self._runs.get(name) is run:
            del self._runs[name]

    async def watch(self) -> AsyncIterator[ContainerExit]:
        following = asyncio.ensure_future(self._follow())
        try:
            while True:
                yield await self._ends.get()
        finally:
            following.cancel()

    async def settle(self, name: str) -> None:
        """Tell the end of its run, if that has ended."""
        run = self._runs.get(name)
        if run is None:
            return
        info = await self._api.find(run.container)
        if info and (info.state.running or info.state.started_at == run.before):
            return
        if self._runs.get(name) is run:
            del self._runs[name]
            self._ends.put_nowait(self.exit_of(name, info) if info else ContainerExit(name, None, 0.0))
            self.shortages.pop(run.container, None)

    def exit_of(self, name: str, info: ContainerInfo) -> ContainerExit:
        """How a container ended that did."""
        state = info.state
        uptime_s = max(0.0, (state.finished_at - state.started_at).total_seconds())
        return ContainerExit(name, state.exit_code, uptime_s, oom=self._ran_out_of_memory(info))

    def _ran_out_of_memory(self, info: ContainerInfo) -> bool:
        """The engine's own mark stays when what ran out was something else inside, hours before."""
        if info.state.exit_code != 128 + signals.SIGKILL:
            return False
        last = self.shortages.get(info.id)
        if last is None:
            return info.state.oom_killed
        return info.state.finished_at.timestamp() - last < OOM_S

    async def _follow(self) -> None:
        """Look again at whoever an event names, and at all of them when the stream was lost."""
        backoff = Backoff()
        while True:
            try:
                async with aclosing(self._api.events({HIVE: self._hive_id})) as events:
                    async for event in events:
                        backoff.reset()
                        await self._note(event)
            except HiveError as error:
                if backoff.tries == 0:
                    log.warning("container engine is away", reason=str(error))
            await backoff.wait()

    async def _note(self, event: Event | None) -> None:
        if event and event.action == "oom":
            self.shortages[event.id] = event.time_s
        for name, run in list(self._runs.items()):
            if event is None or run.container == event.id:
                await self.settle(name)

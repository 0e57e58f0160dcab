"""One agent's keeper: brings its container to what is wanted, and starts it again when it ends unasked."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from hive_contracts.agents import ContainerCrashed, ContainerStarted, ContainerStatus, ContainerStopped, Desired
from hive_contracts.envelope import Payload
from hive_contracts.errors import HiveError
from hive_runtime.backoff import Backoff
from hive_supervisor.runtimes.base import ContainerExit, ContainerRuntime, ContainerSpec

FIRST_RESTART_S: Final = 0.2
LAST_RESTART_S: Final = 30.0
USEFUL_RESTART_S: Final = 2.0
"""The longest pause of a container whose harness had reported: a message waits for it, and one that kills it each time
is given up after a few tries."""

STEADY_S: Final = 10.0
"""A container that ran so long, in seconds, starts again at once, however often it crashed before."""

LOG_TAIL_LINES: Final = 20

log = structlog.get_logger()


class Host(Protocol):
    """What a keeper asks of the supervisor."""

    async def prepare(self, name: str) -> ContainerSpec:
        """The agent's user, streams and spec. Raises `HiveError`."""
        ...

    async def ready(self, name: str) -> None:
        """Returns once the harness has reported."""
        ...

    async def tell(self, payload: Payload, subject: str) -> None:
        """Put a fact into `hive:events`."""
        ...

    async def changed(self, name: str) -> None:
        """The keeper's account changed; publish it."""
        ...


class Keeper:
    """Keeps one container. Everything it does it does in `run`, one thing at a time."""

    def __init__(self, name: str, desired: Desired, *, runtime: ContainerRuntime, host: Host) -> None:
        self.name = name
        self.desired = desired
        self.status = ContainerStatus.STOPPED
        self.since = datetime.now(UTC)
        self.detail = ""
        self.restarts = 0
        self._runtime = runtime
        self._host = host
        self._restart_wanted = False
        self._came_up = False
        self._exit: ContainerExit | None = None
        self._news = asyncio.Event()
        self._moved = asyncio.Condition()
        self._backoff = Backoff(first_s=FIRST_RESTART_S, limit_s=LAST_RESTART_S, at_once=True)

    def want(self, desired: Desired, *, restart: bool = False) -> None:
        """What the container is to be from now on; `restart`: stop it first."""
        self.desired = desired
        self._restart_wanted = restart and self._up
        self._backoff.reset()
        self._news.set()

    def ended(self, exit_: ContainerExit) -> None:
        """The runtime says that the container ended."""
        self._exit = exit_
        self._news.set()

    async def settled(self) -> None:
        """Returns once the container is what is wanted, or has crashed."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._settled)

    async def run(self, *, grace_s: float, start_timeout_s: float) -> None:
        """Keep it until cancelled; cancelling leaves the container as it is."""
        found = (await self._runtime.list()).get(self.name)
        if found and found.running:
            self._came_up = True
            await self._set(ContainerStatus.RUNNING)
        while True:
            try:
                await self._step(grace_s=grace_s, start_timeout_s=start_timeout_s)
            except HiveError as error:
                log.warning("container does not start", agent=self.name, code=error.code, reason=str(error))
                await self._set(ContainerStatus.CRASHED, str(error))
                await self._wait(self._backoff.next_s())

    @property
    def _up(self) -> bool:
        return self.status in (ContainerStatus.STARTING, ContainerStatus.RUNNING)

    @property
    def _settled(self) -> bool:
        if self.status is ContainerStatus.CRASHED:
            return True
        wanted = ContainerStatus.RUNNING if self.desired is Desired.RUNNING else ContainerStatus.STOPPED
        return self.status is wanted and not self._restart_wanted

    @property
    def _interrupted(self) -> bool:
        return self._exit is not None or self._restart_wanted or self.desired is not Desired.RUNNING

    async def _step(self, *, grace_s: float, start_timeout_s: float) -> None:
        """Do the one thing that is to be done, or wait until there is one."""
        if self._exit is not None:
            await self._note_crash(self._exit)
        elif self._up and self._interrupted:
            await self._stop(grace_s)
        elif not self._up and self.desired is Desired.RUNNING:
            await self._start(start_timeout_s)
        elif self.status is ContainerStatus.CRASHED:
            await self._set(ContainerStatus.STOPPED)
        else:
            await self._wait(None)

    async def _start(self, timeout_s: float) -> None:
        self._came_up = False
        await self._set(ContainerStatus.STARTING)
        await self._runtime.create(await self._host.prepare(self.name))
        await self._runtime.start(self.name)
        if await self._until_ready(timeout_s):
            self._came_up = True
            await self._set(ContainerStatus.RUNNING)
            await self._host.tell(ContainerStarted(agent=self.name), self.name)

    async def _until_ready(self, timeout_s: float) -> bool:
        """False when something else is to be done first: it ended, or is to stop."""
        ready = asyncio.ensure_future(self._host.ready(self.name))
        ready.add_done_callback(self._wake)
        try:
            async with asyncio.timeout(timeout_s):
                while not ready.done() and not self._interrupted:
                    await self._wait(None)
        except TimeoutError:
            log.warning("harness did not report in time", agent=self.name, seconds=timeout_s)
            await self._runtime.stop(self.name, grace_s=0)
        finally:
            ready.remove_done_callback(self._wake)
            ready.cancel()
        return ready.done() and not ready.cancelled() and not self._interrupted

    def _wake(self, _: object) -> None:
        self._news.set()

    async def _stop(self, grace_s: float) -> None:
        await self._runtime.stop(self.name, grace_s=grace_s)
        while self._exit is None:
            await self._wait(None)
        self._exit = None
        self._restart_wanted = False
        await self._set(ContainerStatus.STOPPED)
        await self._host.tell(ContainerStopped(agent=self.name), self.name)

    async def _note_crash(self, exit_: ContainerExit) -> None:
        """An end that nobody asked for: say so, and wait before the next start, unless it is the first for a while."""
        self._news.clear()
        self._exit = None
        self._restart_wanted = False
        self.restarts += 1
        if exit_.uptime_s > STEADY_S:
            self._backoff.reset()
        log.warning("container crashed", agent=self.name, status=exit_.status, uptime_s=round(exit_.uptime_s, 1))
        await self._set(ContainerStatus.CRASHED, _ending(exit_))
        fact = ContainerCrashed(
            agent=self.name,
            exit_status=None if exit_.signal else exit_.status,
            signal=exit_.signal,
            uptime_seconds=exit_.uptime_s,
            log_tail=await self._runtime.logs(self.name, LOG_TAIL_LINES),
        )
        await self._host.tell(fact, self.name)
        pause_s = self._backoff.next_s()
        if self._came_up:
            pause_s = min(pause_s, USEFUL_RESTART_S)
        if pause_s:
            await self._wait(pause_s)

    async def _set(self, status: ContainerStatus, detail: str = "") -> None:
        async with self._moved:
            self.status, self.detail, self.since = status, detail, datetime.now(UTC)
            self._moved.notify_all()
        await self._host.changed(self.name)

    async def _wait(self, seconds: float | None) -> None:
        """Until there is news, or `seconds` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()


def _ending(exit_: ContainerExit) -> str:
    if exit_.signal:
        return f"ended by signal {exit_.signal}; starting it again"
    how = "ended unseen" if exit_.status is None else f"ended with status {exit_.status}"
    return f"{how}; starting it again"

"""One agent's keeper: brings its container to what is wanted, and starts it again when it ends unasked."""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts.agents import (
    AgentQuarantined,
    ContainerCrashed,
    ContainerStarted,
    ContainerStatus,
    ContainerStopped,
    Desired,
    Operation,
    OperationProgressed,
)
from hive_contracts.errors import HiveError, Unavailable
from hive_contracts.models import RestartPolicy
from hive_runtime.backoff import Backoff
from hive_supervisor.errors import CannotStart
from hive_supervisor.host import Host
from hive_supervisor.life import Life, Run, Throttle, how_it_ended, last_words
from hive_supervisor.runtimes.base import Container, ContainerExit, ContainerRuntime
from hive_supervisor.runtimes.insisting import insist
from hive_supervisor.slots import Slots

FIRST_RESTART_S: Final = 0.2
LAST_RESTART_S: Final = 30.0
USEFUL_RESTART_S: Final = 2.0
"""The longest pause of a container whose harness had reported: a message waits for it, and one that kills it each time
is given up after a few tries."""

STEADY_S: Final = 10.0
"""A container that ran so long, in seconds, starts again at once, however often it crashed before."""

END_TOLD_S: Final = 10.0
"""How long the end of a container that was stopped may take to be told."""

LIST_FAILS: Final = "containers cannot be looked at, so none is started or ended"
WAITS: Final = "waits for others to start"
LOG_TAIL_LINES: Final = 20
log = structlog.get_logger()


class Keeper:
    """Keeps one container. Everything it does it does in `run`, one thing at a time."""

    def __init__(  # noqa: PLR0913 - what it is told of its agent, and what it works with
        self,
        name: str,
        desired: Desired,
        *,
        life: Life,
        throttle: Throttle,
        slots: Slots,
        runtime: ContainerRuntime,
        host: Host,
    ) -> None:
        self.name = name
        self.desired = desired
        self.status = ContainerStatus.QUARANTINED if life.quarantine else ContainerStatus.STOPPED
        self.since = datetime.fromtimestamp(life.ended, UTC) if life.ended else datetime.now(UTC)
        self.detail = life.quarantine
        self.restarts = 0
        self.operation: Operation | None = None
        self.life = life
        self._throttle = throttle
        self._slots = slots
        self._runtime = runtime
        self._host = host
        self._restart_wanted = False
        self._restart_as = "restart"
        self._looked = self._came_up = False
        self._late = ""
        self._lifts = self._tried = 0
        self._exit: ContainerExit | None = None
        self._news = asyncio.Event()
        self._moved = asyncio.Condition()
        self._backoff = Backoff(first_s=FIRST_RESTART_S, limit_s=LAST_RESTART_S, at_once=True)

    def want(self, desired: Desired, *, restart: str = "", lift: bool = False) -> None:
        """What it is to be from now on. `restart`: what to call it, if it is to be stopped first. `lift`: start it
        though it crashed often."""
        self.desired = desired
        self._restart_wanted = bool(restart) and (self._up or not self._looked)
        self._restart_as = restart or "restart"
        self._backoff.reset()
        self._lifts += lift
        if lift or desired is not Desired.RUNNING:
            self._keep(self.life.lifted())
        self._news.set()

    def ended(self, exit_: ContainerExit) -> None:
        """The runtime says that the container ended."""
        if self.life.run is not Run.NONE:
            self._exit = exit_
            self._news.set()

    async def settled(self) -> None:
        """Returns once the container is what is wanted, or did not get there."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._settled)

    async def doing(self, verb: str, step: str) -> None:
        """Tell how far what is being done to it is. `verb`: what that is; until `_set` says that it is over."""
        known = self.operation if self.operation and self.operation.verb == verb else None
        self.operation = Operation(verb=verb, since=known.since if known else datetime.now(UTC), step=step)
        await self._host.changed(self.name)
        await self._host.tell(OperationProgressed(agent=self.name, verb=verb, step=step), self.name)

    async def run(self, *, grace_s: float, start_timeout_s: float) -> None:
        """Keep it until cancelled; cancelling leaves the container as it is."""
        await self._find()
        while True:
            try:
                await self._step(grace_s=grace_s, start_timeout_s=start_timeout_s)
            except HiveError as error:
                await self._not_started(error)

    @property
    def failed(self) -> bool:
        """It is to run, and did not get there by its last start."""
        return self._tried == self._lifts and self._ended_badly

    @property
    def queued(self) -> str:
        """What is to be done once the operation that is under way is over."""
        if self.operation is None:
            return ""
        if self.desired is not Desired.RUNNING:
            return "" if self.operation.verb == "stop" else "stop"
        return self._restart_as if self._restart_wanted and self.operation.verb == "start" else ""

    @property
    def _ended_badly(self) -> bool:
        return self.status is ContainerStatus.QUARANTINED or (
            self.status is ContainerStatus.CRASHED and not self._came_up
        )

    @property
    def _up(self) -> bool:
        return self.status in (ContainerStatus.STARTING, ContainerStatus.RUNNING)

    @property
    def _settled(self) -> bool:
        if self.desired is Desired.RUNNING:
            return self.failed or (self.status is ContainerStatus.RUNNING and not self._restart_wanted)
        return self.status is ContainerStatus.STOPPED

    @property
    def _interrupted(self) -> bool:
        return self._exit is not None or self._restart_wanted or self.desired is not Desired.RUNNING

    async def _find(self) -> None:
        """What an earlier supervisor left: a container that runs, or one that ended meanwhile."""
        found = (await insist(self._runtime.list, LIST_FAILS)).get(self.name)
        self._looked = True
        if found and found.running:
            self._came_up = True
            self._keep(self.life.going_on())
            await self._set(ContainerStatus.RUNNING, since=found.since)
            if await self._host.misfits(self.name):
                self._restart_wanted = True
            return
        self._restart_wanted = False
        await self._find_ended(found)

    async def _find_ended(self, found: Container | None) -> None:
        self._exit = None  # the same, told meanwhile
        missed = self.life.missed(found) if self.desired is Desired.RUNNING else None
        if missed:
            self._came_up = True
            await self._note_end(missed)
        elif self.life.run is not Run.NONE:
            self._keep(self.life.over())

    async def _step(self, *, grace_s: float, start_timeout_s: float) -> None:
        """Do the one thing that is to be done, or wait until there is one."""
        if self._exit is not None:
            await self._note_end(self._exit)
        elif self._up and self._interrupted:
            await self._stop(grace_s)
        elif self.desired is Desired.RUNNING and not self._up and not self.life.quarantine:
            await self._start(start_timeout_s)
        elif self.desired is not Desired.RUNNING and self.status is not ContainerStatus.STOPPED:
            await self._set(ContainerStatus.STOPPED)
        elif self.operation:
            await self._set(self.status, self.detail, since=self.since)
        else:
            await self._wait(None)

    async def _start(self, timeout_s: float) -> None:
        verb = self.operation.verb if self.operation else "start"
        if self._slots.taken:
            await self._set(ContainerStatus.STOPPED, WAITS, operation=verb)
            await self.doing(verb, WAITS)
        async with self._slots.held(wake=self._wake, news=self._news_while_waiting) as mine:
            if mine:
                await self._start_now(verb, timeout_s)

    async def _news_while_waiting(self) -> bool:
        """Whether something else is to be done before a start."""
        if not self._interrupted:
            await self._wait(None)
        return self._interrupted

    async def _start_now(self, verb: str, timeout_s: float) -> None:
        self._came_up, self._late = False, ""
        await self._set(ContainerStatus.STARTING, operation=verb)
        self._tried = self._lifts  # one that was begun before a lift is not what was asked for
        await self.doing(verb, "makes its container")
        await self._runtime.create(await self._host.prepare(self.name))
        self._keep(self.life.starting(await self._host.version(self.name)))
        await self.doing(verb, "starts its container")
        await self._runtime.start(self.name)
        await self.doing(verb, "waits for its harness to report")
        if await self._until_ready(timeout_s):
            self._came_up = True
            self._keep(self.life.came_up())
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
            await self._end_late(f"did not report within {timeout_s:g} s and was ended")
        finally:
            ready.remove_done_callback(self._wake)
            ready.cancel()
        if not ready.done() or ready.cancelled() or self._interrupted:
            return False
        if isinstance(error := ready.exception(), CannotStart):
            await self._end_late(str(error))
        return error is None

    async def _end_late(self, reason: str) -> None:
        log.warning("harness did not come up", agent=self.name, reason=reason)
        self._late = reason
        await self._runtime.stop(self.name, grace_s=0)
        await self._end_told()

    def _wake(self, _: object) -> None:
        self._news.set()

    async def _stop(self, grace_s: float) -> None:
        self._keep(self.life.stopping())
        again = self._restart_wanted
        verb = self._restart_as if again else "stop"
        await self._set(self.status, self.detail, since=self.since, operation=verb)
        await self.doing(verb, f"asks it to end, within {grace_s:g} s")
        await self._runtime.stop(self.name, grace_s=grace_s)
        await self._end_told()
        self._exit = None
        self._restart_wanted = False
        self._keep(self.life.over())
        await self._set(ContainerStatus.STOPPED, operation=verb if again else "")
        await self._host.tell(ContainerStopped(agent=self.name), self.name)

    async def _end_told(self) -> None:
        """Wait for it: told later, it would pass for the end of the next run."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TOLD_S):
                while self._exit is None:
                    await self._wait(None)

    async def _note_end(self, exit_: ContainerExit) -> None:
        """An end that nobody asked for: say so, and wait before the next start, unless it is the first for a while."""
        self._news.clear()
        self._exit = None
        self._restart_wanted = False
        if exit_.uptime_s > STEADY_S:
            self._backoff.reset()
        if exit_.is_reboot:
            log.info("container starts anew", agent=self.name)
            self._keep(self.life.over())
            await self._set(ContainerStatus.STOPPED, "it asked to be started anew")
        else:
            await self._note_crash(exit_)
        if not self.life.quarantine:
            await self._pause()

    async def _note_crash(self, exit_: ContainerExit) -> None:
        self.restarts += 1
        log.warning(
            "container crashed", agent=self.name, status=exit_.status, oom=exit_.oom, uptime_s=round(exit_.uptime_s, 1)
        )
        lines = await self._last_lines()
        how = self._late or how_it_ended(exit_)
        if not self._came_up:
            how += last_words(lines)
        await self._set(ContainerStatus.CRASHED, how)
        fact = ContainerCrashed(
            agent=self.name,
            exit_status=None if exit_.signal else exit_.status,
            signal=exit_.signal,
            oom=exit_.oom,
            uptime_seconds=exit_.uptime_s,
            log_tail=lines,
        )
        await self._host.tell(fact, self.name, fact_id=f"{self.name}:crash:{self.life.began}")
        self._keep(self.life.crashed(came_up=self._came_up, window_s=self._throttle.window_s))
        await self._judge()

    async def _not_started(self, error: HiveError) -> None:
        """A start or a stop failed. What the back-end stands on may come back by itself: that counts for nothing."""
        log.warning("container is not what is wanted", agent=self.name, code=error.code, reason=str(error))
        if isinstance(error, Unavailable):
            as_it_was = self._came_up or self.desired is not Desired.RUNNING
            await self._set(self.status if as_it_was else ContainerStatus.CRASHED, str(error))
        else:
            self._keep(self.life.not_started())
            await self._set(ContainerStatus.CRASHED, str(error))
            await self._judge()
        if not self.life.quarantine:
            await self._wait(self._backoff.next_s())

    async def _judge(self) -> None:
        """Whether it is started again."""
        never = self._host.policy(self.name) is RestartPolicy.NEVER
        reason = "it crashed, and is not to be started again" if never else self._throttle.verdict(self.life)
        if not reason:
            return
        sentence = f"{reason}; it stays down until `hive start {self.name}`. Last: {self.detail}"
        log.warning("container quarantined", agent=self.name, reason=reason)
        self._keep(self.life.quarantined(sentence))
        await self._set(ContainerStatus.QUARANTINED, sentence)
        await self._host.tell(AgentQuarantined(agent=self.name, reason=reason), self.name)

    async def _pause(self) -> None:
        pause_s = self._backoff.next_s()
        if self._came_up:
            pause_s = min(pause_s, USEFUL_RESTART_S)
        if pause_s:
            await self._wait(pause_s)

    async def _last_lines(self) -> tuple[str, ...]:
        try:
            return await self._runtime.logs(self.name, LOG_TAIL_LINES)
        except HiveError:
            return ()

    def _keep(self, life: Life) -> None:
        if life != self.life:
            self.life = life
            self._host.keep(self.name, life)

    async def _set(
        self, status: ContainerStatus, detail: str = "", *, since: datetime | None = None, operation: str = ""
    ) -> None:
        """`operation`: what begins with this; without one, what was going on is over."""
        now = datetime.now(UTC)
        async with self._moved:
            self.status, self.detail, self.since = status, detail, since or now
            same = self.operation if self.operation and self.operation.verb == operation else None
            self.operation = same or (Operation(verb=operation, since=now) if operation else None)
        await self._host.changed(self.name)
        async with self._moved:  # who waits for it finds it published
            self._moved.notify_all()

    async def _wait(self, seconds: float | None) -> None:
        """Until there is news, or `seconds` have passed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        self._news.clear()

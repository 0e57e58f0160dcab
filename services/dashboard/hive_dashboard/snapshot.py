"""What pages show, read once for all of them: the registry, states, services and the newest messages.

Pages and the API render from `Snapshots.current`; a page view costs no reading of Redis. It is read again when events
say that something changed, at most once in `PAUSE_S`, and every `IDLE_S` seconds anyway, because silence is news too.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

import structlog

from hive_contracts import streams
from hive_contracts.agents import AgentState, HiveInfo, TurnState
from hive_contracts.approvals import ApprovalState, ApprovalView
from hive_contracts.drafts import DraftView
from hive_contracts.errors import HiveError, Unavailable
from hive_contracts.messages import MessageView
from hive_contracts.names import MANAGER, OPERATOR
from hive_contracts.questions import QuestionView
from hive_dashboard.needs import Need, needs_of
from hive_dashboard.outlook import wider
from hive_dashboard.registry import AgentView, ServiceView, read_agents, read_info, read_services, read_state
from hive_dashboard.sparks import Sparks
from hive_dashboard.store_alerts import Alert, AlertStore
from hive_dashboard.text import one_line
from hive_dashboard.threads import Thread, threads_of
from hive_runtime.bus import Bus
from hive_runtime.drain import ADVICE, Gauge
from hive_runtime.errors import BusFull, StoreUnavailable
from hive_runtime.records.approvals import ApprovalReader
from hive_runtime.records.messages import MessageReader
from hive_runtime.records.threads import ThreadReader

PAUSE_S: Final = 0.2
IDLE_S: Final = 3.0
FLOW_LENGTH: Final = 50
INBOX_LENGTH: Final = 30
AGENT_INBOX_LENGTH: Final = 10
SUPERVISOR: Final = "supervisor"
APPROVALS_LENGTH: Final = 100
DEAD_LENGTH: Final = 5
TASK_LENGTH: Final = 200

log = structlog.get_logger()


class RedisStatus(StrEnum):
    OK = "ok"
    AWAY = "away"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of the hive. `flow` and `threads` are newest first; `threads` are the operator's inbox, everything
    unread in it up to a limit. `inboxes` are those of the agents that somebody looks at.
    `drain` says why the hive takes nothing new; empty while it does.
    `wider`: how many rights each approval that waits would widen.
    `questions` wait for the operator, oldest first; `closed` did just before. `alerts` were not dismissed yet.
    `standing` are warnings that have nothing to do with Redis. `known`: whether the registry was ever read."""

    known: bool = False
    redis: RedisStatus = RedisStatus.AWAY
    redis_detail: str = "the dashboard is starting"
    drain: str = ""
    agents: tuple[AgentView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    info: HiveInfo | None = None
    flow: tuple[MessageView, ...] = ()
    threads: tuple[Thread, ...] = ()
    inboxes: dict[str, tuple[MessageView, ...]] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=dict)
    dead: int = 0
    dead_letters: tuple[MessageView, ...] = ()
    approvals: tuple[ApprovalView, ...] = ()
    wider: dict[str, int] = field(default_factory=dict)
    drafts: tuple[DraftView, ...] = ()
    questions: tuple[QuestionView, ...] = ()
    closed: tuple[QuestionView, ...] = ()
    alerts: tuple[Alert, ...] = ()
    standing: tuple[str, ...] = ()

    def agent(self, name: str) -> AgentView | None:
        return next((agent for agent in self.agents if agent.name == name), None)

    @property
    def pending(self) -> tuple[ApprovalView, ...]:
        """Approvals that wait for the operator, oldest first."""
        return tuple(one for one in reversed(self.approvals) if one.state is ApprovalState.PENDING)

    @property
    def needs(self) -> tuple[Need, ...]:
        """What waits for the operator."""
        return needs_of(self)

    @property
    def present(self) -> tuple[AgentView, ...]:
        """The agents that were not destroyed."""
        return tuple(agent for agent in self.agents if agent.desired.is_there)

    @property
    def operator_unread(self) -> int:
        return self.unread.get(OPERATOR, 0)

    @property
    def thinking(self) -> int:
        return sum(1 for a in self.agents if a.running and a.state and a.state.state is TurnState.THINKING)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator must know, most urgent first."""
        found = []
        if self.redis is RedisStatus.AWAY:
            found.append(f"Redis is away, what you see may be old. {self.redis_detail}")
        elif self.redis is RedisStatus.FULL:
            found.append(f"Drain mode: {self.redis_detail}. Nothing can be sent until there is room again.")
        elif self.drain:
            found.append(f"Drain mode: {self.drain}. {ADVICE}.")
        if self.redis is RedisStatus.OK:
            found += [
                f"The {service.service} does not answer; see `hive logs {service.service}`."
                for service in self.services
                if not service.alive and service.service != "dashboard"
            ]
            found += [service.warning for service in self.services if service.alive and service.warning]
        if self.info and self.info.warning:
            found.append(self.info.warning)
        return (*found, *self.standing)


class Watcher(Protocol):
    """Who is told of changes, and says which agents are looked at."""

    def watched(self) -> Sequence[str]: ...

    def changed(self, before: Snapshot, after: Snapshot) -> None: ...


class Snapshots:
    """Keeps `current`. `clock` gives the time that beats are measured against.

    The watcher is told in the same step that replaces `current`: a page that was rendered from the former one gets the
    change as an event, a page rendered from the new one does not.
    """

    def __init__(  # noqa: PLR0913 - everything that pages show meets here
        self,
        bus: Bus,
        messages: MessageReader,
        *,
        threads: ThreadReader,
        approvals: ApprovalReader,
        alerts: AlertStore,
        watcher: Watcher,
        gauge: Gauge,
        sparks: Sparks,
        clock: Callable[[], datetime],
        standing: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._bus = bus
        self._messages = messages
        self._threads = threads
        self._approvals = approvals
        self._alerts = alerts
        self._watcher = watcher
        self._gauge = gauge
        self._sparks = sparks
        self._clock = clock
        self._states: dict[str, AgentState] = {}
        self._wider: dict[str, int] = {}
        self._dirty = asyncio.Event()
        self._reading = asyncio.Lock()
        self._standing = standing
        self.current = Snapshot()

    def find(self, name: str) -> AgentView | None:
        """None when there is no such agent. Raises `Unavailable` until that is known."""
        return self.current.agent(name) or self.known().agent(name)

    def known(self) -> Snapshot:
        """`current`. Raises `Unavailable` until the registry was read: before, no agent would look like none."""
        if not self.current.known:
            raise Unavailable("the dashboard has just started and does not know the agents yet; try again in a moment")
        return self.current

    def touch(self) -> None:
        """Something changed: read again soon."""
        self._dirty.set()

    def note_state(self, agent: str, state: AgentState) -> None:
        """The newest account of `agent`, from its live stream; spares reading its hash."""
        self._states[agent] = state.model_copy(update={"agent": agent})
        self.touch()

    async def refresh(self, *, states: bool = False) -> Snapshot:
        """Read now; never raises for what is away. `states`: read every agent's state hash too."""
        async with self._reading:
            after = await self._read(states=states)
            self._watcher.changed(self.current, after)
            self.current = after
            return after

    async def run(self) -> None:
        """Keep `current` true until cancelled."""
        while True:
            slow = not self._dirty.is_set()
            self._dirty.clear()
            await self.refresh(states=slow)
            await asyncio.sleep(PAUSE_S)
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._dirty.wait()
            except TimeoutError:
                continue

    async def _read(self, *, states: bool) -> Snapshot:
        try:
            if states:
                await self._probe()
            found = await self._with_bus(states=states)
        except HiveError as error:
            found = _without_bus(self.current, error)
        found = replace(found, standing=await asyncio.to_thread(self._standing))
        try:
            return await asyncio.to_thread(self._with_messages, found, self._watcher.watched())
        except HiveError as error:
            log.warning("messages cannot be read", code=error.code, reason=str(error))
            return found

    async def _probe(self) -> None:
        """A harmless write: a server that is full answers reads as if nothing were wrong."""
        await self._bus.hash_set(streams.state(OPERATOR), {"seen": self._clock().isoformat()})

    async def _with_bus(self, *, states: bool) -> Snapshot:
        before = self.current
        found = await read_agents(self._bus)
        agents = found or {agent.name: agent for agent in before.agents}  # an emptied server is no emptied hive
        for name in agents:
            if states or name not in self._states:
                state = await read_state(self._bus, name)
                if state is not None:
                    self._states[name] = state
        services = await read_services(self._bus, self._clock())
        kept = any(service.alive for service in services if service.service == SUPERVISOR)
        stale = {} if kept else {"operation": None, "queued": ""}  # what was under way ended with the supervisor
        return replace(
            before,
            known=True,
            redis=RedisStatus.OK,
            redis_detail="",
            drain=await self._gauge.look(),
            agents=tuple(
                agents[name].model_copy(update={"state": self._states.get(name), **stale})
                for name in sorted(agents, key=_order)
            ),
            services=services,
            info=await read_info(self._bus) or before.info,
        )

    def _with_messages(self, snapshot: Snapshot, watched: Sequence[str]) -> Snapshot:
        unread = self._messages.unread()
        undone = self._messages.inbox(OPERATOR, limit=INBOX_LENGTH, undone=True)
        newest = self._messages.inbox(OPERATOR, limit=INBOX_LENGTH)
        questions = self._threads.open_to(OPERATOR)
        traces = list({message.trace_id for message in (*newest, *undone)})
        tasks = self._messages.in_hand()
        dead = self._messages.count_dead()
        return replace(
            snapshot,
            agents=tuple(self._told_of(agent, unread, tasks) for agent in snapshot.agents),
            flow=tuple(self._messages.recent(limit=FLOW_LENGTH)),
            inboxes={name: tuple(self._messages.inbox(name, limit=AGENT_INBOX_LENGTH)) for name in watched},
            unread=unread,
            threads=threads_of(self._messages.correspondence(OPERATOR, traces)),
            dead=dead,
            dead_letters=tuple(self._messages.dead(limit=DEAD_LENGTH)) if dead else (),
            approvals=tuple(self._known_approvals()),
            wider=self._wider_rights(),
            drafts=tuple(self._approvals.drafts()),
            questions=tuple(questions),
            closed=tuple(self._closed(snapshot.questions, questions)),
            alerts=self._kept_alerts(snapshot),
        )

    def _kept_alerts(self, before: Snapshot) -> tuple[Alert, ...]:
        """Those of before while their store cannot be read: the page is more than they."""
        try:
            return tuple(self._alerts.all())
        except StoreUnavailable as error:
            log.warning("alerts cannot be read", reason=str(error))
            return before.alerts

    def _wider_rights(self) -> dict[str, int]:
        """Of what waits: a commit never changes, so each is looked at once."""
        self._wider = {
            one.id: self._wider[one.id] if one.id in self._wider else wider(one, self._approvals.agent_files(one.id))
            for one in self._approvals.pending()
        }
        return self._wider

    def _known_approvals(self) -> list[ApprovalView]:
        """The newest, and every one that waits however long ago it was asked for; newest first."""
        known = {one.id: one for one in (*self._approvals.pending(), *self._approvals.recent(limit=APPROVALS_LENGTH))}
        return sorted(known.values(), key=lambda one: (one.requested_at, one.id), reverse=True)

    def _told_of(self, agent: AgentView, unread: dict[str, int], tasks: dict[str, str]) -> AgentView:
        facts = {
            "unread": unread.get(agent.name, 0),
            "task": one_line(tasks.get(agent.name, ""), TASK_LENGTH),
            "turns": self._sparks.of(agent),
        }
        return agent.model_copy(update=facts)

    def _closed(self, before: Sequence[QuestionView], after: Sequence[QuestionView]) -> Iterator[QuestionView]:
        still_open = {view.id for view in after}
        for view in before:
            if view.id not in still_open and (found := self._threads.get(view.id)):
                yield found


def _order(name: str) -> tuple[bool, str]:
    """The manager first, then by name."""
    return name != MANAGER, name


def _without_bus(before: Snapshot, error: HiveError) -> Snapshot:
    status = RedisStatus.FULL if isinstance(error, BusFull) else RedisStatus.AWAY
    return replace(before, redis=status, redis_detail=str(error))

"""Commands from the dashboard: carried out once, answered by `correlation_id` on `hive:events`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from structlog.contextvars import bound_contextvars

from hive_contracts import streams
from hive_contracts.agents import (
    CommandDone,
    CommandFailed,
    Desired,
    DestroyAgent,
    RebuildAgent,
    RestartAgent,
    Role,
    SpawnAgent,
    StartAgent,
    StopAgent,
)
from hive_contracts.credentials import RotateCredentials
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import HiveError, Refused, Unavailable, status_of
from hive_contracts.models import RestartPolicy, SetModel
from hive_contracts.names import MANAGER
from hive_contracts.retention import SweepRetention
from hive_runtime.backoff import persist
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry
from hive_runtime.consumer import Consumer, consume
from hive_runtime.errors import StoreUnavailable
from hive_supervisor.errors import AgentDestroyed, AgentExists, AgentRuns, CannotStart, UnknownAgent
from hive_supervisor.fleet import SOURCE, Fleet
from hive_supervisor.retention.schedule import Retention
from hive_supervisor.rotation import Rotation
from hive_supervisor.store import Answer, NewAgent, SupervisorStore, Unit
from hive_supervisor.wishes import Answering, asker_of, check_wish

SETTLE_TIMEOUT_S: Final = 8.0
"""How long an answer waits for the container to get where it is wanted, in seconds."""

log = structlog.get_logger()

_STARTING: Final = frozenset({SpawnAgent.TYPE, StartAgent.TYPE, RestartAgent.TYPE})
"""What asks for a container that runs, however often it crashed before."""

_LIFTING: Final = _STARTING | {StopAgent.TYPE}
"""What ends a quarantine."""

_ONCE: Final = frozenset({RestartAgent.TYPE, RebuildAgent.TYPE})
"""What is done once and not kept as something wanted: cut short, only its time tells whether it was done."""

_WANTED: Final = {StartAgent.TYPE: Desired.RUNNING, StopAgent.TYPE: Desired.STOPPED, RestartAgent.TYPE: Desired.RUNNING}
"""What a lifecycle command makes of an agent. All three carry the same data."""


class Commands:
    """Changes the store, then lets the fleet do what it says."""

    def __init__(  # noqa: PLR0913 - who does what commands ask for
        self,
        *,
        bus: Bus,
        store: SupervisorStore,
        fleet: Fleet,
        retention: Retention,
        rotation: Rotation,
        answering: Sequence[Answering],
        spawned: Callable[[Envelope], Awaitable[None]],
    ) -> None:
        """`spawned`: keeps that the operator made an agent; it may be told again."""
        self._bus = bus
        self._spawned = spawned
        self._answering = answering
        self._store = store
        self._fleet = fleet
        self._retention = retention
        self._rotation = rotation

    async def run(self) -> None:
        """Until cancelled; then what was not answered is answered by the next supervisor."""
        stream, group = streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR
        await self._bus.ensure_group(stream, group)
        consumer = Consumer(self._bus, stream, group, SOURCE, remake=partial(self._bus.ensure_group, stream, group))
        try:
            async with asyncio.TaskGroup() as tasks:
                await consume(consumer, partial(self._handle, tasks))
        finally:
            await consumer.aclose()

    async def _handle(self, tasks: asyncio.TaskGroup, entries: list[Entry]) -> None:
        """Record what each command wants, in order; a repeated one only repeats its answer.

        Each is answered, and acknowledged, when it is done or cannot be: no agent's command waits for another's.
        """
        for entry in entries:
            command = _decoded(entry)
            with bound_contextvars(correlation=command.id if command else ""):
                if command and (one := next((one for one in self._answering if one.takes(command)), None)):
                    tasks.create_task(self._have_answered(entry, command, one))
                    continue
                begun = await self._begin(command, again=entry.redelivered) if command else []
                if command and isinstance(begun, str):
                    tasks.create_task(self._finish(entry, command, begun))
                elif not isinstance(begun, str):
                    await self._reply(entry, begun)

    async def _have_answered(self, entry: Entry, command: Envelope, one: Answering) -> None:
        """By who takes such commands; no other command waits for it."""
        try:
            check_wish(command)
            result = await one.answer(command)
            told = _told(command, CommandDone(command=command.type, subject=command.subject, result=result))
        except (MalformedEnvelope, HiveError) as error:
            told = self._tell(command, _refusal(error))
        except Exception:  # it would come again at every start
            log.exception("command broke off", type=command.type)
            told = self._tell(command, Answer(HiveError.code, "it broke off; see hive logs supervisor"))
        await persist(lambda: self._reply(entry, told))

    async def _finish(self, entry: Entry, command: Envelope, name: str) -> None:
        answer = await self._outcome(command, name)
        await persist(lambda: self._reply(entry, self._tell(command, answer)))

    async def _reply(self, entry: Entry, appends: list[Append]) -> None:
        acks = [Ack(streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR, [entry.id], delete=True)]
        await self._bus.write(Batch(appends, acks))

    async def _begin(self, command: Envelope, *, again: bool) -> list[Append] | str:
        """The answer, if there is one by now; else the name of an agent: it is to be answered once that is settled."""
        try:
            check_wish(command)
        except HiveError as error:
            return self._tell(command, _refusal(error))
        try:
            answer: Answer | str | None = self._store.answer(command.id)
            if answer is None:
                answer = await self._carry_out(command)
            elif again and command.type in _ONCE:
                answer = await self._let_happen(command, str(command.data["name"]), again=True)
            if command.type == SpawnAgent.TYPE:
                await self._spawned(command)
        except Unavailable:
            raise  # our store or Redis is away: the command comes again
        except (MalformedEnvelope, HiveError) as error:
            answer = _refusal(error)
        if answer is None or isinstance(answer, str):
            return answer or []
        return self._tell(command, answer)

    def _tell(self, command: Envelope, answer: Answer) -> list[Append]:
        log.info("command answered", type=command.type, subject=command.subject, code=answer.code or "done")
        if answer.code:
            about = {"command": command.type, "subject": command.subject, "status": status_of(answer.code)}
            return _told(command, CommandFailed(code=answer.code, reason=answer.reason, **about))
        return _told(command, CommandDone(command=command.type, subject=command.subject, result=self._now(command)))

    def _now(self, command: Envelope) -> dict[str, str]:
        """For a manager, what became of the agent."""
        status = self._fleet.status(command.subject) if asker_of(command) else None
        return {"status": status.value} if status else {}

    async def _carry_out(self, command: Envelope) -> Answer | str | None:
        """Change what is wanted and remember the answer as one; then let it happen. None: answered by another.

        The name of an agent: there is an answer once that is settled.
        """
        if command.type == SweepRetention.TYPE:
            self._retention.request(command)
            return None
        if command.type == RotateCredentials.TYPE:
            await self._rotation.request(command)
            return Answer()
        self._check_lifter(command)
        self._check_purge(command)
        return await self._let_happen(command, self._record(command))

    def _check_lifter(self, command: Envelope) -> None:
        """Raises `Refused` when the manager would start what only the operator may, or stop it to start it then."""
        name = str(command.data.get("name"))
        if not asker_of(command) or command.type not in _LIFTING or not self._fleet.is_quarantined(name):
            return
        if self._fleet.policy(name) is not RestartPolicy.MANAGER:
            raise Refused(f"{name} is quarantined, and only the operator may start it again; ask with ask_operator")

    def _check_purge(self, command: Envelope) -> None:
        """Raises `AgentRuns`: nobody wipes what is at work by one slip."""
        if command.type != DestroyAgent.TYPE or not (wish := command.payload(DestroyAgent)).purge:
            return
        if self._fleet.wanted(wish.name) is Desired.RUNNING and wish.name != MANAGER:
            raise AgentRuns(
                f"{wish.name} is to run, and nothing that runs is purged; first `hive stop {wish.name}`, or "
                f"`hive destroy {wish.name}`, which keeps its state"
            )

    def _record(self, command: Envelope) -> str:
        with self._store.unit() as unit:
            name = _change(unit, command)
            unit.remember(command.id, Answer(), datetime.now(UTC))
        return name

    async def _let_happen(self, command: Envelope, name: str, *, again: bool = False) -> Answer | str:
        """`again`: a supervisor before this one recorded it, and may have died before it did it."""
        if command.type == SetModel.TYPE:
            await self._fleet.tell_model(name)
            return Answer()
        rebuild = command.type == RebuildAgent.TYPE
        wanted = command.type == RestartAgent.TYPE or (rebuild and bool(self._fleet.behind(name)))
        if again and await self._fleet.has_started_since(name, command.time):
            wanted = False
        restart = ("rebuild" if rebuild else "restart") if wanted else ""
        await self._fleet.apply(name, restart=restart, lift=command.type in _STARTING)
        return name

    async def _outcome(self, command: Envelope, name: str) -> Answer:
        """What was asked for is recorded; when it does not come up, that is the answer all the same."""
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await self._fleet.settled(name)
        except TimeoutError:
            log.info("still on its way", agent=name)
        failure = self._fleet.failure(name) if command.type in _STARTING else ""
        if not failure:
            return Answer()
        answer = Answer(CannotStart.code, f"{name} does not start: {failure}")
        with suppress(StoreUnavailable), self._store.unit() as unit:
            unit.amend(command.id, answer)
        return answer


def _decoded(entry: Entry) -> Envelope | None:
    try:
        return Envelope.decode(entry.fields)
    except MalformedEnvelope as error:
        log.warning("command is malformed", entry=entry.id, reason=str(error)[:200])
        return None


def _refusal(error: MalformedEnvelope | HiveError) -> Answer:
    return Answer("invalid" if isinstance(error, MalformedEnvelope) else error.code, str(error))


def _told(command: Envelope, fact: CommandDone | CommandFailed) -> list[Append]:
    """To everyone who watches, or to the manager whose wish it was: with the key by which it waits."""
    identity = f"{command.id}:answer"[:128]
    asker = asker_of(command)
    answered = command.correlation_id if asker else command.id
    envelope = Envelope.of(fact, source=SOURCE, id=identity, subject=command.subject, correlation_id=answered)
    return [Append(streams.control(asker) if asker else streams.EVENTS, envelope)]


def _change(unit: Unit, command: Envelope) -> str:
    """Do in the store what `command` says; returns the agent's name."""
    if command.type == SpawnAgent.TYPE:
        return _spawn(unit, command.payload(SpawnAgent))
    if command.type == SetModel.TYPE:
        change = command.payload(SetModel)
        _check_there(unit, change.name)
        if not unit.override_model(change.name, change.model, datetime.now(UTC)):
            raise UnknownAgent(f"there is no agent called {change.name}")
        return change.name
    if command.type == RebuildAgent.TYPE:
        name = command.payload(RebuildAgent).name
        _check_there(unit, name)
        if unit.desired(name) is None:
            raise UnknownAgent(f"there is no agent called {name}")
        return name
    if command.type == DestroyAgent.TYPE:
        return _destroy(unit, command.payload(DestroyAgent))
    if command.type not in _WANTED:
        raise MalformedEnvelope(f"{command.type} is not a command that this supervisor knows")
    name = command.payload(StartAgent).name
    _check_there(unit, name)
    if not unit.want(name, _WANTED[command.type]):
        raise UnknownAgent(f"there is no agent called {name}")
    return name


def _spawn(unit: Unit, spawn: SpawnAgent) -> str:
    new = NewAgent(spawn.name, Role.AGENT, spawn.engine, spawn.description, spawn.config)
    if unit.desired(spawn.name) is Desired.PURGED:
        raise AgentExists(f"what {spawn.name} had is just being wiped; its name is free in a moment")
    if not unit.add(new, datetime.now(UTC)):
        raise AgentExists(f"there is an agent called {spawn.name} already; choose another name")
    return spawn.name


def _check_there(unit: Unit, name: str) -> None:
    desired = unit.desired(name)
    if desired is Desired.PURGED:
        raise AgentDestroyed(f"{name} was purged; what it had is just being wiped")
    if desired is Desired.DESTROYED:
        raise AgentDestroyed(f"{name} was destroyed; `hive spawn {name}` revives what was kept")


def _destroy(unit: Unit, wish: DestroyAgent) -> str:
    if wish.name == MANAGER:
        raise Refused(f"{MANAGER} is the manager; a hive without one does nothing. Stop it instead")
    desired = unit.desired(wish.name)
    if desired is None:
        raise UnknownAgent(f"there is no agent called {wish.name}")
    if desired is not Desired.PURGED:
        unit.want(wish.name, Desired.PURGED if wish.purge else Desired.DESTROYED)
    return wish.name

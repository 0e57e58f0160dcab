"""Commands from the dashboard: carried out once, answered by `correlation_id` on `hive:events`."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from hive_contracts import streams
from hive_contracts.agents import (
    CommandDone,
    CommandFailed,
    Desired,
    DestroyAgent,
    RestartAgent,
    Role,
    SpawnAgent,
    StartAgent,
    StopAgent,
)
from hive_contracts.credentials import RotateCredentials
from hive_contracts.envelope import Envelope, MalformedEnvelope
from hive_contracts.errors import HiveError, Refused, Unavailable
from hive_contracts.models import SetModel
from hive_contracts.names import MANAGER
from hive_contracts.retention import SweepRetention
from hive_runtime.bus import Ack, Append, Batch, Bus, Entry
from hive_supervisor.errors import AgentDestroyed, AgentExists, UnknownAgent
from hive_supervisor.fleet import SOURCE, Fleet
from hive_supervisor.retention.schedule import Retention
from hive_supervisor.rotation import Rotation
from hive_supervisor.store import Answer, NewAgent, SupervisorStore, Unit
from hive_supervisor.wishes import Answering, asker_of, check_wish

SETTLE_TIMEOUT_S: Final = 8.0
"""How long an answer waits for the container to get where it is wanted, in seconds."""

log = structlog.get_logger()

_WANTED: Final = {StartAgent.TYPE: Desired.RUNNING, StopAgent.TYPE: Desired.STOPPED, RestartAgent.TYPE: Desired.RUNNING}
"""What a lifecycle command makes of an agent. All three carry the same data."""


class Commands:
    """Changes the store, then lets the fleet do what it says."""

    def __init__(
        self,
        *,
        bus: Bus,
        store: SupervisorStore,
        fleet: Fleet,
        retention: Retention,
        rotation: Rotation,
        answering: Sequence[Answering],
    ) -> None:
        self._bus = bus
        self._answering = answering
        self._store = store
        self._fleet = fleet
        self._retention = retention
        self._rotation = rotation

    async def handle(self, entries: list[Entry]) -> None:
        """Carry out each command, in order; a repeated one only repeats its answer."""
        for entry in entries:
            appends = await self._answer(entry)
            acks = [Ack(streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR, [entry.id], delete=True)]
            await self._bus.write(Batch(appends, acks))

    async def _answer(self, entry: Entry) -> list[Append]:
        try:
            command = Envelope.decode(entry.fields)
        except MalformedEnvelope as error:
            log.warning("command is malformed", entry=entry.id, reason=str(error)[:200])
            return []
        try:
            check_wish(command)
            for one in self._answering:
                if (found := await one.answer(command)) is not None:
                    return _told(command, CommandDone(command=command.type, subject=command.subject, result=found))
        except (MalformedEnvelope, HiveError) as error:
            return self._tell(command, _refusal(error))
        try:
            answer = self._store.answer(command.id) or await self._carry_out(command)
        except Unavailable:
            raise  # our store or Redis is away: the command comes again
        except (MalformedEnvelope, HiveError) as error:
            answer = _refusal(error)
        return [] if answer is None else self._tell(command, answer)

    def _tell(self, command: Envelope, answer: Answer) -> list[Append]:
        log.info("command answered", type=command.type, subject=command.subject, code=answer.code or "done")
        if answer.code:
            refusal = CommandFailed(
                command=command.type, subject=command.subject, code=answer.code, reason=answer.reason
            )
            return _told(command, refusal)
        return _told(command, CommandDone(command=command.type, subject=command.subject, result=self._now(command)))

    def _now(self, command: Envelope) -> dict[str, str]:
        """For a manager, what became of the agent."""
        status = self._fleet.status(command.subject) if asker_of(command) else None
        return {"status": status.value} if status else {}

    async def _carry_out(self, command: Envelope) -> Answer | None:
        """Change what is wanted and remember the answer as one; then let it happen. None: answered by another."""
        if command.type == SweepRetention.TYPE:
            self._retention.request(command)
            return None
        if command.type == RotateCredentials.TYPE:
            await self._rotation.request(command)
            return Answer()
        with self._store.unit() as unit:
            name = _change(unit, command)
            unit.remember(command.id, Answer(), datetime.now(UTC))
        if command.type == SetModel.TYPE:
            await self._fleet.tell_model(name)
            return Answer()
        await self._fleet.apply(name, restart=command.type == RestartAgent.TYPE)
        try:
            async with asyncio.timeout(SETTLE_TIMEOUT_S):
                await self._fleet.settled(name)
        except TimeoutError:
            log.info("still on its way", agent=name)
        return Answer()


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
        spawn = command.payload(SpawnAgent)
        new = NewAgent(spawn.name, Role.AGENT, spawn.engine, spawn.description, spawn.config)
        if not unit.add(new, datetime.now(UTC)):
            raise AgentExists(f"there is an agent called {spawn.name} already; choose another name")
        return spawn.name
    if command.type == SetModel.TYPE:
        change = command.payload(SetModel)
        _check_there(unit, change.name)
        if not unit.override_model(change.name, change.model, datetime.now(UTC)):
            raise UnknownAgent(f"there is no agent called {change.name}")
        return change.name
    if command.type == DestroyAgent.TYPE:
        return _destroy(unit, command.payload(DestroyAgent))
    if command.type not in _WANTED:
        raise MalformedEnvelope(f"{command.type} is not a command that this supervisor knows")
    name = command.payload(StartAgent).name
    _check_there(unit, name)
    if not unit.want(name, _WANTED[command.type]):
        raise UnknownAgent(f"there is no agent called {name}")
    return name


def _check_there(unit: Unit, name: str) -> None:
    if unit.desired(name) in (Desired.DESTROYED, Desired.PURGED):
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

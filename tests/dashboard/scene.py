"""A hive around a dashboard: the real broker on the test's bus, and agents whose harness and supervisor are played."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hive_broker.config import BrokerSettings
from hive_broker.service import Broker
from hive_contracts import streams
from hive_contracts.agents import (
    AgentCreated,
    AgentRecord,
    AgentState,
    AgentStateChanged,
    CommandDone,
    CommandFailed,
    ContainerStatus,
    Desired,
    Engine,
    HiveInfo,
    LastTurn,
    ModelView,
    Role,
    TurnOutcome,
    TurnState,
)
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.ids import new_id
from hive_contracts.messages import Message, MessageDelivered, SendMessage
from hive_contracts.models import AgentModel, SetModel
from hive_contracts.turns import TurnEnded, TurnStarted, Usage
from hive_runtime.bus import Bus, ensure_principal
from hive_runtime.consumer import Consumer
from hive_runtime.records.messages import MessageWriter


@dataclass(slots=True)
class Scene:
    """What the supervisor and the harnesses would do, one method a step."""

    bus: Bus
    records: dict[str, AgentRecord] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    consumers: dict[str, Consumer] = field(default_factory=dict)

    async def info(self, warning: str = "") -> None:
        info = HiveInfo(
            runtime="process", isolation="bubblewrap", warning=warning, engine=Engine.SCRIPTED, version="0.1.0"
        )
        await self.bus.hash_set(streams.INFO, {streams.INFO_FIELD: info.model_dump_json()})

    async def agent(self, name: str, **facts: Any) -> None:
        """An agent is there and runs."""
        now = datetime.now(UTC)
        base: dict[str, Any] = {
            "name": name,
            "role": Role.MANAGER if name == "hm1nd" else Role.AGENT,
            "engine": Engine.SCRIPTED,
            "container": ContainerStatus.RUNNING,
            "container_since": now,
            "created_at": now,
        }
        await ensure_principal(self.bus, name)
        self.leases[name] = new_id()
        await self.bus.hash_set(streams.state(name), {streams.LEASE_FIELD: self.leases[name]})
        await self.register(AgentRecord(**(base | facts)))
        await self.tell(AgentCreated(record=self.records[name]), subject=name)

    async def register(self, record: AgentRecord) -> None:
        self.records[record.name] = record
        await self.bus.hash_set(streams.AGENTS, {record.name: record.model_dump_json()})

    async def tell(self, payload: Payload, **fields: str) -> None:
        await self.bus.append(streams.EVENTS, Envelope.of(payload, source="supervisor", **fields))

    async def state(self, name: str, state: TurnState = TurnState.IDLE, **facts: Any) -> None:
        base: dict[str, Any] = {
            "agent": name,
            "state": state,
            "since": datetime.now(UTC),
            "engine": "scripted",
            "model": ModelView(active="haiku"),
        }
        account = AgentState(**(base | facts))
        await self.bus.hash_set(streams.state(name), {streams.STATE_FIELD: account.model_dump_json()})
        await self.live(name, AgentStateChanged(state=account))

    async def live(self, name: str, payload: Payload) -> None:
        await self.bus.append(streams.live(name), Envelope.of(payload, source=name))

    async def live_raw(self, name: str, kind: str, data: dict[str, Any]) -> None:
        await self.bus.append(streams.live(name), Envelope(source=name, type=kind, data=data))

    async def send(self, sender: str, to: str, body: str, **fields: Any) -> None:
        """`sender`'s harness asks for a delivery."""
        payload = SendMessage(to=to, body=body, **fields)
        await self.bus.append(streams.outbox(sender), Envelope.of(payload, source=sender))

    async def take(self, name: str) -> tuple[str, Message]:
        """The next message of `name`'s inbox, with its entry id."""
        consumer = self.consumers.get(name)
        if consumer is None:
            consumer = Consumer(self.bus, streams.inbox(name), streams.GROUP_HARNESS, name, count=1)
            self.consumers[name] = consumer
        (entry,) = await consumer.read(count=1)
        return entry.id, Envelope.decode(entry.fields).payload(MessageDelivered).message

    async def begin(self, name: str, message: Message) -> "Turn":
        turn = Turn(self, name, new_id(), message, datetime.now(UTC))
        await self.state(name, TurnState.THINKING, turn_id=turn.id)
        await turn.say(
            TurnStarted, messages=(message.id,), sender=message.sender, prompt=message.body, engine="scripted"
        )
        return turn

    async def answer_commands(self, *, refuse: str = "") -> None:
        """Be the supervisor, until cancelled."""
        await self.bus.ensure_group(streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR)
        consumer = Consumer(self.bus, streams.COMMANDS_SUPERVISOR, streams.GROUP_SUPERVISOR, "scene")
        try:
            while True:
                for entry in await consumer.read():
                    await self._carry_out(Envelope.decode(entry.fields), refuse)
        finally:
            await consumer.aclose()

    async def _carry_out(self, envelope: Envelope, refuse: str) -> None:
        name, about = envelope.data["name"], {"correlation_id": envelope.id}
        if refuse:
            failed = CommandFailed(command=envelope.type, subject=name, code="refused", reason=refuse)
            await self.tell(failed, **about)
            return
        if envelope.type == "agent.spawn":
            await self.agent(name)
            await self.state(name)
        stops = envelope.type == "agent.stop"
        changes: dict[str, Any] = {
            "desired": Desired.STOPPED if stops else Desired.RUNNING,
            "container": ContainerStatus.STOPPED if stops else ContainerStatus.RUNNING,
        }
        if envelope.type == SetModel.TYPE:
            changes = {"model": AgentModel(name=envelope.data["model"] or "haiku")}
        await self.register(self.records[name].model_copy(update=changes))
        await self.tell(CommandDone(command=envelope.type, subject=name), **about)

    async def aclose(self) -> None:
        for consumer in self.consumers.values():
            await consumer.aclose()


@dataclass(slots=True)
class Turn:
    """A turn in progress."""

    scene: Scene
    agent: str
    id: str
    message: Message
    started: datetime
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def say(self, kind: type[Payload], **facts: Any) -> None:
        await self.scene.live(self.agent, kind(turn_id=self.id, seq=next(self.numbers), **facts))

    async def end(self, entry_id: str, outcome: TurnOutcome = TurnOutcome.OK, **facts: Any) -> None:
        usage = Usage(input=1200, output=180)
        about = {"outcome": outcome, "messages": (self.message.id,)}
        await self.say(TurnEnded, **({"duration_ms": 2400, "usage": usage, "tool_calls": 1} | about | facts))
        if outcome is TurnOutcome.OK:
            await self.scene.bus.ack_leased(self.agent, self.scene.leases[self.agent], [entry_id])
        last = LastTurn(
            turn_id=self.id, started=self.started, ended=datetime.now(UTC), outcome=outcome, messages=(self.message.id,)
        )
        await self.scene.state(self.agent, TurnState.IDLE, last_turn=last, session_id="5f0c2a9e", cost_usd=0.0123)


@asynccontextmanager
async def brokered(bus: Bus, data_dir: Path) -> AsyncIterator[Scene]:
    """A scene with a real broker that serves it."""
    messages = MessageWriter(data_dir / "broker.sqlite")
    broker = asyncio.create_task(Broker(BrokerSettings(), data_dir, bus, messages).run())
    scene = Scene(bus)
    try:
        yield scene
    finally:
        await scene.aclose()
        broker.cancel()
        await asyncio.wait([broker])
        messages.close()

"""A small hive for the broker's tests: agents in the registry, their streams, and what an outbox worker needs."""

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from tests.support.redis_server import RedisServer

from hive_broker.admission import Admission
from hive_broker.config import BrokerSettings
from hive_broker.dead_letters import DeadLetters
from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.limits import Limits
from hive_broker.loops import LoopReport
from hive_broker.mail import Mail
from hive_broker.outbox import OutboxWorker
from hive_broker.record import Record
from hive_contracts import streams
from hive_contracts.agents import AgentRecord, ContainerStatus, Desired, Engine, Role
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.messages import Message, MessageDelivered, SendMessage
from hive_contracts.models import AgentConfig
from hive_contracts.names import MANAGER
from hive_runtime.bus import Bus, Entry, ensure_principal
from hive_runtime.records.dead import DeadLetterWriter
from hive_runtime.records.messages import MessageReader, MessageWriter
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus

P = TypeVar("P", bound=Payload)


async def emptied(server: RedisServer) -> Bus:
    """A bus on a server that holds nothing."""
    async with aclosing(RedisAdmin(server.address)) as admin:
        await admin.flush()
    return RedisBus(server.address, load_functions=True)


async def register(
    bus: Bus,
    *names: str,
    desired: Desired = Desired.RUNNING,
    running: bool = False,
    recipients: tuple[str, ...] | None = None,
) -> None:
    """As the supervisor does it."""
    now = datetime.now(UTC)
    for name in names:
        container = ContainerStatus.RUNNING if running else ContainerStatus.STOPPED
        record = AgentRecord(
            name=name,
            role=Role.MANAGER if name == MANAGER else Role.AGENT,
            engine=Engine.SCRIPTED,
            desired=desired,
            container=container,
            container_since=now,
            created_at=now,
            config=AgentConfig(recipients=recipients),
        )
        await ensure_principal(bus, name)
        await bus.hash_set(streams.AGENTS, {name: record.model_dump_json()})


async def told(bus: Bus, stream: str) -> list[Envelope]:
    """Everything in a stream, oldest first."""
    async with aclosing(bus.reader()) as reader:
        return [
            Envelope.decode(entry.fields) for entry in await reader.read_after({stream: "0-0"}, count=999, block_ms=0)
        ]


async def told_as(bus: Bus, stream: str, kind: type[P]) -> list[P]:
    return [envelope.payload(kind) for envelope in await told(bus, stream) if envelope.type == kind.TYPE]


async def inbox(bus: Bus, name: str) -> list[Message]:
    return [delivered.message for delivered in await told_as(bus, streams.inbox(name), MessageDelivered)]


async def record_all(bus: Bus, record: Record, *, again: bool = False) -> None:
    """As `Record.run` does it, until nothing is left; `again`: first what was not acknowledged."""
    await bus.ensure_group(streams.EVENTS, streams.GROUP_RECORD)
    async with aclosing(bus.reader()) as reader:
        if again:
            group = (streams.EVENTS, streams.GROUP_RECORD, "broker")
            if entries := await reader.read_pending(*group, after="0", count=999):
                await record.handle(entries)
        while entries := await reader.read_new(streams.EVENTS, streams.GROUP_RECORD, "broker", count=999, block_ms=0):
            await record.handle(entries)


def send(
    to: str, body: str = "hi", *, key: str = "", reply: str | None = None, cause: str | None = None, **flags: bool
) -> Envelope:
    payload = SendMessage(to=to, body=body, in_reply_to=reply, cause=cause, **flags)
    return Envelope.of(payload, source="whoever", **({"id": key} if key else {}))


@dataclass(frozen=True, slots=True)
class Post:
    """The broker's parts for outboxes, on a bus of the test's."""

    bus: Bus
    messages: MessageWriter
    directory: Directory
    path: Path
    limits: Limits = field(default_factory=lambda: Limits(BrokerSettings()))

    @classmethod
    async def open(cls, bus: Bus, data_dir: Path, *agents: str, limits: Limits | None = None) -> "Post":
        await register(bus, *agents)
        await ensure_principal(bus, "operator")
        directory = Directory(bus)
        await directory.refresh()
        path = data_dir / "broker.sqlite"
        return cls(bus, MessageWriter(path), directory, path, limits or Limits(BrokerSettings()))

    def worker(self, sender: str, bus: Bus | None = None) -> OutboxWorker:
        """Of a broker that knows nothing but what is on record."""
        bus = bus or self.bus
        known = Known(bus, self.messages)
        mail = Mail(bus, known, self.directory)
        return OutboxWorker(
            sender,
            bus=bus,
            known=known,
            admission=Admission(Depths(bus, self.limits.inbox_soft), known, self.directory, self.limits),
            loops=LoopReport(bus=bus, messages=self.messages, known=known, mail=mail),
            write=bus.write,
        )

    async def take(self, sender: str, *, again: bool = False) -> list[Entry]:
        """What the outbox of `sender` holds for the broker; `again`: what it did not acknowledge."""
        stream = streams.outbox(sender)
        async with aclosing(self.bus.reader()) as reader:
            if again:
                return await reader.read_pending(stream, streams.GROUP_BROKER, "broker", after="0", count=99)
            return await reader.read_new(stream, streams.GROUP_BROKER, "broker", count=99, block_ms=0)

    async def post(self, sender: str, *envelopes: Envelope) -> None:
        """Append to the outbox and let the worker handle it, then the record."""
        for envelope in envelopes:
            await self.bus.append(streams.outbox(sender), envelope)
        await self.worker(sender).handle(await self.take(sender))
        await self.record()

    async def record(self) -> None:
        """Record what was told since."""
        await record_all(self.bus, Record(self.bus, self.messages, self.dead_letters()))

    def dead_letters(
        self, bus: Bus | None = None, *, settings: BrokerSettings | None = None, clock: Callable[[], int] | None = None
    ) -> DeadLetters:
        bus = bus or self.bus
        return DeadLetters(
            bus=bus,
            writer=DeadLetterWriter(self.messages.store),
            directory=self.directory,
            mail=Mail(bus, Known(bus, self.messages), self.directory),
            settings=settings or BrokerSettings(),
            **({"clock": clock} if clock else {}),
        )

    @property
    def records(self) -> MessageReader:
        return MessageReader(self.path)

"""A small hive for tests of questions and reminders: three agents, the test's clock, a broker to restart."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from tests.broker.post import inbox, record_all, register, told

from hive_broker.config import BrokerSettings
from hive_broker.dead_letters import DeadLetters
from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.limits import Limits
from hive_broker.loops import LoopReport
from hive_broker.mail import Mail
from hive_broker.record import Record
from hive_broker.threads import Threads, ThreadWorker
from hive_contracts import streams
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.ids import new_id
from hive_contracts.messages import Message
from hive_contracts.questions import ThreadAccepted, ThreadRefused
from hive_contracts.reminders import ThreadsListed
from hive_runtime.bus import Bus, Entry, ensure_principal
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.dead import DeadLetterWriter
from hive_runtime.records.messages import MessageWriter
from hive_runtime.records.threads import ThreadReader, ThreadWriter

NAMES = ("ada", "lin", "eve")
START_MS = 1_800_000_000_000

Answer = ThreadAccepted | ThreadRefused | ThreadsListed


@dataclass(slots=True)
class Time:
    now: int = START_MS

    def __call__(self) -> int:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@dataclass(slots=True)
class Rig:
    """`ask_for` puts a request into an outbox, lets the broker handle it, and returns the answer."""

    bus: Bus
    path: Path
    directory: Directory
    time: Time = field(default_factory=Time)
    limits: Limits = field(default_factory=lambda: Limits(BrokerSettings(sender_per_minute=9999, pair_per_minute=9999)))
    most_open: int = 50
    most_reminders: int = 100
    messages: MessageWriter = field(init=False)
    store: ThreadWriter = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.messages = MessageWriter(self.path)
        self.store = ThreadWriter(self.messages.store)

    def close(self) -> None:
        self.messages.close()

    def restart(self) -> None:
        """The broker's process ends and another one begins."""
        self.close()
        self.open()

    def threads(self, bus: Bus | None = None) -> Threads:
        bus = bus or self.bus
        known = Known(bus, self.messages)
        mail = Mail(bus, known, self.directory)
        return Threads.build(
            self.store,
            known=known,
            mail=mail,
            directory=self.directory,
            clock=self.time,
            limits=self.limits,
            depths=Depths(bus, self.limits.inbox_soft),
            loops=LoopReport(bus=bus, messages=self.messages, known=known, mail=mail),
            most_open=self.most_open,
            most_reminders=self.most_reminders,
        )

    async def tick(self, bus: Bus | None = None) -> None:
        await self.threads(bus).scheduler.tick()

    async def handle(self, who: str, entries: list[Entry], bus: Bus | None = None) -> None:
        await ThreadWorker(who, bus=bus or self.bus, threads=self.threads(bus)).handle(entries)

    async def record(self) -> None:
        """Record what was told since."""
        mail = Mail(self.bus, Known(self.bus, self.messages), self.directory)
        dead = DeadLetters(
            bus=self.bus,
            writer=DeadLetterWriter(self.messages.store),
            directory=self.directory,
            mail=mail,
            settings=BrokerSettings(),
        )
        await record_all(self.bus, Record(self.bus, self.messages, dead))

    async def post(self, who: str, payload: Payload, *, key: str = "") -> str:
        """Put a request into the outbox of `who`; its key."""
        envelope = Envelope.of(payload, source="whoever", id=key or new_id())
        await self.bus.append(streams.outbox(who), envelope)
        return envelope.id

    async def ask_for(self, who: str, payload: Payload, *, key: str = "") -> Answer:
        key = await self.post(who, payload, key=key)
        await self.handle(who, await self.take(who))
        return await self.answer_to(who, key)

    async def answer_to(self, who: str, key: str) -> Answer:
        kinds: dict[str, type[Answer]] = {kind.TYPE: kind for kind in (ThreadAccepted, ThreadRefused, ThreadsListed)}
        found = [item for item in await told(self.bus, streams.control(who)) if item.correlation_id == key]
        return found[-1].payload(kinds[found[-1].type])

    async def take(self, who: str, *, again: bool = False) -> list[Entry]:
        stream = streams.outbox(who)
        async with aclosing(self.bus.reader()) as reader:
            if again:
                return await reader.read_pending(stream, streams.GROUP_BROKER, "broker", after="0", count=99)
            return await reader.read_new(stream, streams.GROUP_BROKER, "broker", count=99, block_ms=0)

    async def inbox(self, who: str) -> list[Message]:
        return await inbox(self.bus, who)

    @property
    def records(self) -> ThreadReader:
        return ThreadReader(self.path)


async def rigged(bus: Bus, directory: Path) -> Rig:
    await register(bus, *NAMES)
    await ensure_principal(bus, "operator")
    registry = Directory(bus)
    await registry.refresh()
    return Rig(bus, directory / "broker.sqlite", registry)


def with_rig(directory: Path, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        rig = await rigged(MemoryBus(), directory)
        try:
            await scenario(rig)
        finally:
            rig.close()

    asyncio.run(main())

"""Builds the broker's parts and owns their tasks: for each principal one outbox worker and one recorder."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from hive_broker.admission import Admission
from hive_broker.commands import Commands
from hive_broker.config import BrokerSettings
from hive_broker.dead_letters import DeadLetters
from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.limits import Limits
from hive_broker.loops import LoopReport
from hive_broker.mail import SystemMail
from hive_broker.outbox import OutboxWorker
from hive_broker.recorder import Recorder
from hive_broker.threads import Threads, ThreadWorker, by_kind
from hive_contracts import streams
from hive_contracts.messages import RedriveMessage
from hive_contracts.names import OPERATOR
from hive_runtime.backoff import persist
from hive_runtime.beat import beat
from hive_runtime.bus import Bus, Entry, ensure_principal
from hive_runtime.consumer import Consumer, consume
from hive_runtime.records.dead import DeadLetterWriter
from hive_runtime.records.events import EventWriter
from hive_runtime.records.messages import MessageWriter
from hive_runtime.records.threads import ThreadWriter
from hive_runtime.records.traffic import delivered_since
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress

log = structlog.get_logger()


async def run(config: BrokerSettings, data_dir: Path, address: RedisAddress) -> None:
    """Serve until cancelled. Raises `StoreUnavailable` at start."""
    bus = RedisBus(address, load_functions=True)
    messages = MessageWriter(data_dir / "broker.sqlite")
    try:
        await Broker(config, data_dir, bus, messages).run()
    finally:
        messages.close()
        await bus.aclose()


class Broker:
    """`run` returns only by cancellation."""

    def __init__(self, config: BrokerSettings, data_dir: Path, bus: Bus, messages: MessageWriter) -> None:
        self._config = config
        self._data_dir = data_dir
        self._bus = bus
        self._messages = messages
        self._directory = Directory(bus)
        self._limits = Limits(config)
        self._depths = Depths(bus, config.inbox_soft)
        self._mail = SystemMail(bus=bus, messages=messages, directory=self._directory)
        self._loops = LoopReport(bus=bus, messages=messages, mail=self._mail)
        self._dead = DeadLetters(
            bus=bus,
            writer=DeadLetterWriter(messages.store),
            directory=self._directory,
            mail=self._mail,
            settings=config,
        )
        self._threads = Threads.build(
            bus,
            ThreadWriter(data_dir / "broker.sqlite"),
            messages=messages,
            directory=self._directory,
            clock=lambda: time.time_ns() // 1_000_000,
            limits=self._limits,
            most_open=config.max_open_questions,
            most_reminders=config.max_reminders,
        )
        self._workers: dict[str, tuple[asyncio.Task[None], ...]] = {}

    async def run(self) -> None:
        self._limits.rebuild(delivered_since(self._messages.store, time.time() - self._limits.lookback_s))
        log.info("broker started")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(beat(self._bus, "broker"))
                group.create_task(self._threads.scheduler.run())
                group.create_task(self._dead.run())
                group.create_task(self._serve_commands())
                group.create_task(self._directory.follow(lambda: self._match_workers(group)))
        finally:
            self._threads.store.close()

    async def _match_workers(self, group: asyncio.TaskGroup) -> None:
        """One pair of workers for each principal, and none for anyone else."""
        present = self._directory.principals()
        for name in self._workers.keys() - present:
            for task in self._workers.pop(name):
                task.cancel()
        for name in sorted(present - self._workers.keys()):
            self._threads.scheduler.wake()  # it may have something for them
            self._workers[name] = (
                group.create_task(self._serve_outbox(name), name=f"outbox of {name}"),
                group.create_task(self._serve_live(name), name=f"recorder of {name}"),
            )

    async def _serve_outbox(self, name: str) -> None:
        admission = Admission(self._depths, self._messages, self._directory, self._limits)
        worker = OutboxWorker(name, bus=self._bus, messages=self._messages, admission=admission, loops=self._loops)
        requests = ThreadWorker(name, bus=self._bus, threads=self._threads)
        handle = by_kind(worker.handle, requests.handle)
        await self._serve(name, streams.outbox(name), streams.GROUP_BROKER, handle)

    async def _serve_live(self, name: str) -> None:
        path = self._data_dir / "agents" / name / "events.sqlite"
        events = None if name == OPERATOR else await persist(lambda: _open_events(path))
        recorder = Recorder(name, bus=self._bus, messages=self._messages, events=events, dead=self._dead)
        try:
            await self._serve(name, streams.live(name), streams.GROUP_RECORDER, recorder.handle)
        finally:
            if events:
                events.close()

    async def _serve_commands(self) -> None:
        await persist(lambda: self._bus.ensure_group(streams.COMMANDS_BROKER, streams.GROUP_BROKER))
        commands = Commands(self._bus, {RedriveMessage.TYPE: self._dead.redrive})
        consumer = Consumer(
            self._bus, streams.COMMANDS_BROKER, streams.GROUP_BROKER, self._config.name, count=self._config.batch
        )
        try:
            await consume(consumer, commands.handle)
        finally:
            await consumer.aclose()

    async def _serve(
        self, name: str, stream: str, group: str, handle: Callable[[list[Entry]], Awaitable[None]]
    ) -> None:
        async def remake() -> None:
            await ensure_principal(self._bus, name)

        await persist(remake)
        consumer = Consumer(self._bus, stream, group, self._config.name, count=self._config.batch, remake=remake)
        try:
            await consume(consumer, handle)
        finally:
            await consumer.aclose()


async def _open_events(path: Path) -> EventWriter:
    return EventWriter(path)

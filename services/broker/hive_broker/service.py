"""Builds the broker's parts and owns their tasks: for each principal one outbox worker and one recorder.

Several brokers may run over one data directory: each serves its share of the outboxes, the first also keeps the stores.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from hive_broker.admission import Admission
from hive_broker.aftermath import Aftermath
from hive_broker.commands import Commands
from hive_broker.config import BrokerSettings
from hive_broker.crashes import Crashes
from hive_broker.dead_letters import DeadLetters
from hive_broker.depths import Depths
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.limits import Limits
from hive_broker.loops import LoopReport
from hive_broker.lost import Lost
from hive_broker.mail import SOURCE, Mail
from hive_broker.membership import Membership, slot
from hive_broker.notify import Notifier
from hive_broker.outbox import Handle, OutboxWorker, by_kind
from hive_broker.record import Record
from hive_broker.recorder import Recorder
from hive_broker.threads import Threads, ThreadWorker
from hive_broker.wishes import WishWorker
from hive_contracts import streams
from hive_contracts.errors import HiveError
from hive_contracts.messages import RedriveMessage
from hive_contracts.names import OPERATOR
from hive_runtime.backoff import persist
from hive_runtime.beat import beat
from hive_runtime.bus import Batch, Bus, Entry, ensure_principal
from hive_runtime.consumer import Consumer, consume
from hive_runtime.drain import Gauge
from hive_runtime.errors import NoGroup, StoreUnavailable
from hive_runtime.records.dead import DeadLetterWriter
from hive_runtime.records.events import EventWriter
from hive_runtime.records.messages import MessageWriter
from hive_runtime.records.threads import ThreadWriter
from hive_runtime.records.traffic import delivered_since
from hive_runtime.redis_bus import RedisBus
from hive_runtime.redis_url import RedisAddress
from hive_runtime.shared_reads import SharedReads
from hive_runtime.store_watch import tell_when_replaced
from hive_runtime.wiping import wipe

CONSUMER: Final = "broker"
"""Of all brokers: whoever takes a stream over finds there what the one before had not acknowledged."""

_BROUGHT_BACK: Final = "the messages, questions and reminders that hive:events still tells of"

LEAVE_S: Final = 1.0

MOST_BEGIN: Final = 16
"""Streams that are made ready at once: each takes a connection for the time, and they may be thousands."""

NOTICE_LINGER_S: Final = 0.1
"""Notices are for people; every fact wakes their reader, which must not compete with the messages."""

Work = Callable[[], Coroutine[Any, Any, None]]

log = structlog.get_logger()


async def run(config: BrokerSettings, data_dir: Path, address: RedisAddress) -> None:
    """Serve until cancelled. Raises `StoreNewer` at start."""
    with slot(data_dir / "run", config.name) as instance:
        await _run(config, data_dir, address, instance)


async def _run(config: BrokerSettings, data_dir: Path, address: RedisAddress, instance: str) -> None:
    bus = RedisBus(address, load_functions=True)
    messages = MessageWriter(data_dir / "broker.sqlite", patient=True)
    try:
        await persist(bus.load_functions)  # those of an older version may be there
        await Broker(config, data_dir, bus, messages, instance=instance).run()
    finally:
        messages.close()
        await bus.aclose()


class Broker:
    """`run` returns only by cancellation."""

    def __init__(
        self, config: BrokerSettings, data_dir: Path, bus: Bus, messages: MessageWriter, *, instance: str = "broker-0"
    ) -> None:
        self._config = config
        self._data_dir = data_dir
        self._bus = bus
        self._messages = messages
        self._directory = Directory(bus)
        self._gauge = Gauge(bus, data_dir)
        self._limits = Limits(config, self._gauge)
        self._depths = Depths(bus, config.inbox_soft)
        self._known = Known(bus, messages)
        self._mail = Mail(bus, self._known, self._directory)
        self._loops = LoopReport(bus=bus, messages=messages, known=self._known, mail=self._mail)
        letters = DeadLetterWriter(messages.store)
        self._dead = DeadLetters(bus=bus, writer=letters, directory=self._directory, mail=self._mail, settings=config)
        self._lost = Lost(bus, letters, self._directory, recorded=messages.position, look_s=config.missing_look_s)
        self._threads = Threads.build(
            ThreadWriter(messages.store),
            known=self._known,
            mail=self._mail,
            directory=self._directory,
            clock=lambda: time.time_ns() // 1_000_000,
            limits=self._limits,
            depths=self._depths,
            loops=self._loops,
            most_open=config.max_open_questions,
            most_reminders=config.max_reminders,
        )
        self._record = Record(bus, messages, self._dead, purged=self._clear)
        self._aftermath = Aftermath(bus)
        self._membership = Membership(bus, instance)
        self._reads = SharedReads(bus)
        self._few_streams, self._few_stores = asyncio.Semaphore(MOST_BEGIN), asyncio.Semaphore(MOST_BEGIN)
        self._ready = asyncio.Event()
        self._workers: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Alone, or beside others: then it does its part."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gauge.watch())
            group.create_task(
                tell_when_replaced(self._messages.store, self._bus, source=SOURCE, brought_back=_BROUGHT_BACK)
            )
            group.create_task(self._threads.scheduler.run())
            group.create_task(self._aftermath.run())
            group.create_task(self._reads.run())
            try:
                await self._take_part(group)
            finally:
                await self._stop(set(self._workers))
                with suppress(HiveError, TimeoutError):
                    async with asyncio.timeout(LEAVE_S):
                        await self._membership.leave()

    async def _take_part(self, group: asyncio.TaskGroup) -> None:
        one_at_a_time = asyncio.Lock()

        async def changed() -> None:
            async with one_at_a_time:
                await self._match_workers(group)

        async with asyncio.TaskGroup() as inner:
            inner.create_task(self._membership.run(changed))
            inner.create_task(self._directory.follow(changed))

    async def _match_workers(self, group: asyncio.TaskGroup) -> None:
        """Stop what is not ours, or nobody's any more; begin what is ours, once nobody else does it."""
        wanted = self._wanted()
        await self._stop(self._workers.keys() - wanted.keys())
        if not self._membership.agreed:
            return
        for key in sorted(wanted.keys() - self._workers.keys()):
            self._threads.scheduler.wake()  # it may have something for them
            self._workers[key] = group.create_task(wanted[key](), name=" of ".join(filter(None, key)))

    def _wanted(self) -> dict[tuple[str, str], Work]:
        """What is to be done here, by kind and name."""
        present = self._directory.principals()
        wanted = {
            ("outbox", name): partial(self._serve_outbox, name) for name in present if self._membership.owns(name)
        }
        kept: dict[tuple[str, str], Work] = {("live", name): partial(self._serve_live, name) for name in present}
        kept[("record", "")] = self._serve_record
        kept[("dead letters", "")] = self._dead.run
        kept[("lost", "")] = self._lost.run
        kept[("commands", "")] = self._serve_commands
        kept[("notices", "")] = self._serve_notices
        kept[("beat", "")] = partial(beat, self._bus, "broker", warning=lambda: self._record.warning)
        kept[("start", "as the first")] = self._start
        others: dict[tuple[str, str], Work] = {("start", "beside others"): self._start}
        return wanted | (kept if self._membership.is_first else others)

    async def _stop(self, keys: AbstractSet[tuple[str, str]]) -> None:
        """Returns when they have ended, and what followed from their deliveries is written."""
        if not keys:
            return
        tasks = [self._workers.pop(key) for key in list(keys)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._aftermath.flush()

    async def _clear(self, name: str) -> None:
        """What the broker keeps of an agent that was purged goes; it may have written after the supervisor wiped it."""
        self._threads.scheduler.wake()
        await self._directory.refresh()
        if self._directory.get(name):
            return  # another one has its name
        await self._stop({("outbox", name), ("live", name)} & self._workers.keys())
        folder = self._data_dir / "agents" / name
        for path in folder.glob("events.sqlite*"):
            await asyncio.to_thread(wipe, path)
        with suppress(OSError):  # it is not there, or something else of it is
            folder.rmdir()

    async def _start(self) -> None:
        """What was told is in the limits before anything new is taken."""
        if self._membership.is_first:
            await self._record.caught_up.wait()
        if not self._ready.is_set():
            self._rebuild_limits()
            log.info("broker started")
        self._ready.set()

    def _rebuild_limits(self) -> None:
        try:
            self._limits.rebuild(delivered_since(self._messages.store, time.time() - self._limits.lookback_s))
        except StoreUnavailable as error:
            log.warning("limits begin anew", reason=str(error))

    async def _serve_outbox(self, name: str) -> None:
        await self._ready.wait()
        admission = Admission(self._depths, self._known, self._directory, self._limits)
        requests = ThreadWorker(name, bus=self._bus, threads=self._threads)
        wishes = WishWorker(name, bus=self._bus, directory=self._directory)

        async def write(batch: Batch) -> None:
            ids = [entry_id for ack in batch.acks for entry_id in ack.ids]
            await self._aftermath.put(batch, lambda: consumer.settle(ids))

        def settling(handle: Handle) -> Handle:
            async def carry_out(entries: list[Entry]) -> None:
                await handle(entries)
                consumer.settle([entry.id for entry in entries])

            return carry_out

        sends = OutboxWorker(
            name, bus=self._bus, known=self._known, admission=admission, loops=self._loops, write=write
        )
        others = {requests.kinds: settling(requests.handle), wishes.kinds: settling(wishes.handle)}
        async with self._reading(name, streams.outbox(name), streams.GROUP_BROKER) as consumer:
            await consume(consumer, by_kind(sends.handle, others), settles=False)

    async def _serve_live(self, name: str) -> None:
        path = self._data_dir / "agents" / name / "events.sqlite"
        events = None
        if name != OPERATOR:
            async with self._few_stores:
                events = await _opened(path)
        recorder = Recorder(name, bus=self._bus, messages=self._messages, events=events, dead=self._dead)
        try:
            await persist(partial(_one_of_few, self._few_stores, recorder.begin))
            async with self._reading(name, streams.live(name), streams.GROUP_RECORDER, recorder.rest) as consumer:
                await consume(consumer, recorder.handle)
        finally:
            if events:
                events.close()

    async def _serve_record(self) -> None:
        await persist(lambda: self._bus.ensure_group(streams.EVENTS, streams.GROUP_RECORD))
        consumer = Consumer(self._bus, streams.EVENTS, streams.GROUP_RECORD, CONSUMER, count=self._config.record_batch)
        try:
            await self._record.run(consumer)
        finally:
            await consumer.aclose()

    async def _serve_notices(self) -> None:
        await persist(lambda: self._bus.ensure_group(streams.EVENTS, streams.GROUP_NOTIFY))
        window = timedelta(seconds=self._config.crash_note_s)
        crashes = Crashes(self._bus, self._mail, window=window, now=lambda: datetime.now(UTC))
        notifier = Notifier(self._bus, self._mail, self._directory, crashes)
        consumer = Consumer(self._bus, streams.EVENTS, streams.GROUP_NOTIFY, CONSUMER, count=self._config.record_batch)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(crashes.run())
                group.create_task(consume(consumer, notifier.handle, linger_s=NOTICE_LINGER_S))
        finally:
            await consumer.aclose()

    async def _serve_commands(self) -> None:
        await persist(lambda: self._bus.ensure_group(streams.COMMANDS_BROKER, streams.GROUP_BROKER))
        commands = Commands(self._bus, {RedriveMessage.TYPE: self._dead.redrive})
        consumer = Consumer(
            self._bus, streams.COMMANDS_BROKER, streams.GROUP_BROKER, CONSUMER, count=self._config.batch
        )
        try:
            await consume(consumer, commands.handle)
        finally:
            await consumer.aclose()

    @asynccontextmanager
    async def _reading(
        self, name: str, stream: str, group: str, at_rest: Callable[[], Awaitable[None]] | None = None
    ) -> AsyncIterator[Consumer]:
        async def remake() -> None:
            await self._directory.refresh()
            if name not in self._directory.principals():
                raise NoGroup(f"{name} is gone, and its streams with it")
            await _one_of_few(self._few_streams, partial(ensure_principal, self._bus, name))

        await persist(remake)
        reader, count = self._reads.reader(at_rest=at_rest), self._config.batch
        consumer = Consumer(self._bus, stream, group, CONSUMER, count=count, remake=remake, reader=reader)
        try:
            yield consumer
        finally:
            await consumer.aclose()


async def _one_of_few(turns: asyncio.Semaphore, work: Callable[[], Awaitable[object]]) -> None:
    async with turns:
        await work()


async def _opened(path: Path) -> EventWriter:
    """Opened once and at rest then. Who is cancelled leaves no thread behind that makes a store yet."""
    opening = asyncio.ensure_future(asyncio.to_thread(_at_rest, path))
    try:
        return await asyncio.shield(opening)
    finally:
        await asyncio.wait([opening])


def _at_rest(path: Path) -> EventWriter:
    """Raises `StoreNewer`."""
    events = EventWriter(path)
    events.store.rest()
    return events

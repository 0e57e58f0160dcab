"""The whole broker: from outboxes to inboxes and records, for agents old and new, through a server's death."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from tests.broker.post import register, send
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually, until

from hive_broker.config import BrokerSettings
from hive_broker.lost import REASON
from hive_broker.service import Broker, run
from hive_contracts import streams
from hive_contracts.agents import ServiceBeat, TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import MessageAccepted, MessageAcked, MessageDelivered, MessageState
from hive_contracts.names import OPERATOR
from hive_contracts.stores import StoreReplaced
from hive_contracts.turns import TurnEnded, TurnStarted
from hive_runtime.acl import BROKER, broker_rules
from hive_runtime.backoff import persist
from hive_runtime.bus import Bus, ensure_principal
from hive_runtime.errors import StoreUnavailable
from hive_runtime.records.events import EventReader
from hive_runtime.records.messages import MessageReader, MessageWriter
from hive_runtime.redis_admin import RedisAdmin
from hive_runtime.redis_bus import RedisBus

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
T = TypeVar("T")


@asynccontextmanager
async def _broker(bus: Bus, data_dir: Path, **settings: float) -> AsyncIterator[asyncio.Task[None]]:
    """Runs while the block does; must then end cleanly by cancellation."""
    with closing(MessageWriter(data_dir / "broker.sqlite")) as messages:
        task = asyncio.create_task(Broker(BrokerSettings(**settings), data_dir, bus, messages).run())
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)


async def _next(bus: Bus, stream: str, kind: str, count: int = 1) -> list[Envelope]:
    """The first `count` envelopes of a type in a stream, waiting for them."""
    cursors, found = {stream: "0-0"}, list[Envelope]()
    async with asyncio.timeout(20), aclosing(bus.reader()) as reader:
        while len(found) < count:
            entries = await persist(lambda: reader.read_after(cursors, count=99, block_ms=1000))
            found += [e for e in (Envelope.decode(entry.fields) for entry in entries) if e.type == kind]
            cursors.update((entry.stream, entry.id) for entry in entries)
    return found


def test_a_message_travels_and_its_sender_hears_of_it(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, "ada")
        await ensure_principal(bus, OPERATOR)
        async with _broker(bus, tmp_path):
            await bus.append(streams.outbox(OPERATOR), send("ada", "hello", key="k"))
            (arrived,) = await _next(bus, streams.inbox("ada"), MessageDelivered.TYPE)
            message = arrived.payload(MessageDelivered).message
            assert (message.sender, message.body) == (OPERATOR, "hello")
            (answer,) = await _next(bus, streams.control(OPERATOR), MessageAccepted.TYPE)
            assert answer.correlation_id == "k"
            taken_up = TurnStarted(turn_id="t", seq=0, messages=(message.id,))
            await bus.append(streams.live("ada"), Envelope.of(taken_up, source="ada"))
            await _next(bus, streams.EVENTS, "message.in_turn")
            view = MessageReader(tmp_path / "broker.sqlite").get(message.id)
            assert view
            assert view.state is MessageState.IN_TURN
            (event,) = EventReader(tmp_path / "agents" / "ada" / "events.sqlite").page()
            assert event.type == TurnStarted.TYPE
            beat = ServiceBeat.model_validate_json((await bus.hash_all(streams.SERVICES))["broker"])
            assert beat.service == "broker"

    on_bus(scenario)


def test_a_new_agent_is_picked_up_and_served(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, "ada")
        async with _broker(bus, tmp_path):
            await bus.append(streams.outbox("ada"), send(OPERATOR, "first"))
            await _next(bus, streams.inbox(OPERATOR), MessageDelivered.TYPE)
            await register(bus, "lin")
            await bus.append(streams.outbox("lin"), send("ada", "I am new"))
            await bus.append(streams.EVENTS, Envelope(source="supervisor", type="agent.created"))
            (arrived,) = await _next(bus, streams.inbox("ada"), MessageDelivered.TYPE)
            assert arrived.payload(MessageDelivered).message.sender == "lin"

    on_bus(scenario)


def test_what_was_sent_while_no_broker_ran_is_delivered_by_the_next(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, "ada", "lin")
        for number in range(3):
            await bus.append(streams.outbox("ada"), send("lin", str(number)))
            async with _broker(bus, tmp_path):
                await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE, number + 1)
        arrived = await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE, 3)
        assert [e.payload(MessageDelivered).message.body for e in arrived] == ["0", "1", "2"]

    on_bus(scenario)


def test_after_the_servers_death_it_goes_on_by_itself(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address, load_functions=True)) as bus:
            await register(bus, "ada", "lin")
            async with _broker(bus, tmp_path) as task:
                await bus.append(streams.outbox("ada"), send("lin", "before"))
                await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE)
                redis.kill()
                await asyncio.to_thread(redis.start)
                await persist(bus.ping)
                await bus.append(streams.outbox("ada"), send("lin", "after"))
                arrived = await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE, 2)
                assert [e.payload(MessageDelivered).message.body for e in arrived] == ["before", "after"]
                assert not task.done()

    asyncio.run(scenario())


def test_after_the_server_lost_everything_it_goes_on_by_itself(redis: RedisServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            aclosing(RedisBus(redis.address, load_functions=True)) as bus,
            aclosing(RedisAdmin(redis.address)) as admin,
        ):
            await register(bus, "ada", "lin")
            async with _broker(bus, tmp_path) as task:
                await bus.append(streams.outbox("ada"), send("lin", "before"))
                await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE)
                await admin.flush()
                await bus.append(streams.outbox("ada"), send("lin", "after"))
                (arrived,) = await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE)
                assert arrived.payload(MessageDelivered).message.body == "after"
                assert not task.done()

    asyncio.run(scenario())


def test_what_an_emptied_server_lost_comes_again_by_itself(redis: RedisServer, tmp_path: Path) -> None:
    records = MessageReader(tmp_path / "broker.sqlite")

    async def scenario() -> None:
        own = replace(redis.address, username=BROKER, password="p" * 20)
        async with (
            aclosing(RedisBus(redis.address, load_functions=True)) as bus,
            aclosing(RedisAdmin(redis.address)) as admin,
            aclosing(RedisBus(own, load_functions=True)) as brokers,
        ):
            await admin.set_user(BROKER, broker_rules("p" * 20))
            await register(bus, "ada", "lin")
            async with _broker(brokers, tmp_path, missing_look_s=0.1):
                await bus.append(streams.outbox("ada"), send("lin", "waits", key="k"))
                identity = message_id("ada", "k", "lin")
                await until(lambda: (view := records.get(identity)) and view.state is MessageState.DELIVERED)
                await admin.flush()
                await register(bus, "ada", "lin")  # as the supervisor does it
                (arrived,) = await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE)
                assert arrived.payload(MessageDelivered).message.id == identity
                view = records.get(identity)
                assert view
                assert view.steps[-1].detail == REASON

    asyncio.run(scenario())


def test_a_store_of_a_newer_version_ends_the_start_with_a_sentence(redis: RedisServer, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "broker.sqlite")) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(StoreUnavailable, match=r"broker\.sqlite was written by a newer hyperhive"):
        asyncio.run(run(BrokerSettings(), tmp_path, redis.address))


def _ended(message_id: str) -> TurnEnded:
    return TurnEnded(turn_id="t", seq=1, outcome=TurnOutcome.OK, reason="", messages=(message_id,))


async def _is_recorded(path: Path, message_id: str) -> bool:
    """As acked."""
    try:
        view = MessageReader(path).get(message_id)
    except StoreUnavailable:
        return False
    return view is not None and view.state is MessageState.ACKED


def test_a_damaged_record_is_set_aside_and_made_anew_from_what_the_stream_holds(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        await register(bus, "ada", "lin")
        path = tmp_path / "broker.sqlite"
        async with _broker(bus, tmp_path):
            for text in ("done", "waits"):
                await bus.append(streams.outbox("ada"), send("lin", text, key=text))
            done, _ = await _next(bus, streams.inbox("lin"), MessageDelivered.TYPE, 2)
            for turn in (TurnStarted(turn_id="t", seq=0, messages=(done.subject,)), _ended(done.subject)):
                await bus.append(streams.live("lin"), Envelope.of(turn, source="lin"))
            await _next(bus, streams.EVENTS, MessageAcked.TYPE)
        before = MessageReader(path).recent()
        path.write_bytes(b"no database at all, however long one looks at it" * 99)
        async with _broker(bus, tmp_path):
            await eventually(lambda: _is_recorded(path, done.subject))
            after = MessageReader(path).recent()
            assert [(view.body, view.state, view.sent_at) for view in after] == [
                (view.body, view.state, view.sent_at) for view in before
            ]
            (replaced,) = await _next(bus, streams.EVENTS, StoreReplaced.TYPE)
            assert replaced.subject == "broker.sqlite"

    on_bus(scenario)
    (aside,) = tmp_path.glob("broker.sqlite.broken-*Z")
    assert aside.read_bytes().startswith(b"no database")

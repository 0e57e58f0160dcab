"""Messages that are gone from an inbox though nobody handled them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from tests.broker.post import Post, inbox, send, told_as

from hive_broker.lost import REASON, Lost
from hive_broker.recorder import Recorder, Step, fact
from hive_contracts import streams
from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id
from hive_contracts.messages import MessageDelivered, MessageState
from hive_contracts.turns import TurnEnded, TurnStarted
from hive_runtime.bus import Ack, Batch, Bus
from hive_runtime.records.dead import DeadLetterWriter

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
Scenario = Callable[[Post, Lost], Awaitable[None]]
GROUP = streams.GROUP_HARNESS


@pytest.fixture
def with_lost(on_bus: OnBus, tmp_path: Path) -> Callable[[Scenario], None]:
    async def on_post(bus: Bus, scenario: Scenario) -> None:
        post = await Post.open(bus, tmp_path, "ada", "lin")
        try:
            letters = DeadLetterWriter(post.messages.store)
            await scenario(post, Lost(bus, letters, post.directory, recorded=post.messages.position))
        finally:
            post.messages.close()

    return lambda scenario: on_bus(lambda bus: on_post(bus, scenario))


async def _lose_inbox(bus: Bus, name: str) -> None:
    async with aclosing(bus.reader()) as reader:
        ids = [entry.id for entry in await reader.read_after({streams.inbox(name): "0-0"}, count=100, block_ms=0)]
    await bus.write(Batch(acks=[Ack(streams.inbox(name), GROUP, ids, delete=True)]))


async def _look(lost: Lost, times: int = 2) -> None:
    for _ in range(times):
        await lost.look()


def _ids(*keys: str) -> list[str]:
    return [message_id("ada", key, "lin") for key in keys]


def test_what_is_missing_at_two_looks_is_delivered_again_in_order(with_lost: Callable[[Scenario], None]) -> None:
    async def scenario(post: Post, lost: Lost) -> None:
        await post.post("ada", *(send("lin", key, key=key) for key in ("a", "b", "c")))
        await _lose_inbox(post.bus, "lin")
        await _look(lost, 1)
        assert await inbox(post.bus, "lin") == []
        await _look(lost, 3)
        assert [message.id for message in await inbox(post.bus, "lin")] == _ids("a", "b", "c")
        assert len(await told_as(post.bus, streams.EVENTS, MessageDelivered)) == 6
        view = post.records.get(_ids("a")[0])
        assert view
        assert (view.state, view.steps[-1].detail) == (MessageState.DELIVERED, REASON)

    with_lost(scenario)


def test_what_waits_in_the_inbox_is_not_missing(with_lost: Callable[[Scenario], None]) -> None:
    async def scenario(post: Post, lost: Lost) -> None:
        await post.post("ada", send("lin", key="a"))
        await _lose_inbox(post.bus, "lin")
        await post.post("ada", send("lin", key="b"))
        await _look(lost, 3)
        assert [message.id for message in await inbox(post.bus, "lin")] == _ids("b", "a")

    with_lost(scenario)


def test_what_was_handled_is_not_missing_however_late_it_is_recorded(with_lost: Callable[[Scenario], None]) -> None:
    async def scenario(post: Post, lost: Lost) -> None:
        bus, live = post.bus, streams.live("lin")
        await post.post("ada", send("lin", key="a"))
        (handled,) = _ids("a")
        for told in (
            TurnStarted(turn_id="t", seq=0, messages=[handled]),
            TurnEnded(turn_id="t", seq=1, outcome=TurnOutcome.OK, messages=[handled]),
        ):
            await bus.append(live, Envelope.of(told, source="lin"))
        await _lose_inbox(bus, "lin")  # as who acknowledged it does
        await _look(lost, 3)
        async with aclosing(bus.reader()) as reader:
            entries = await reader.read_new(live, streams.GROUP_RECORDER, "broker", count=10, block_ms=0)
            await _look(lost, 3)
            recorder = Recorder("lin", bus=bus, messages=post.messages, events=None, dead=post.dead_letters())
            await recorder.handle(entries)
        await _look(lost, 3)
        assert await inbox(bus, "lin") == []
        view = post.records.get(handled)
        assert view
        assert view.state is MessageState.ACKED

    with_lost(scenario)


def test_a_record_that_is_being_made_again_is_waited_for(with_lost: Callable[[Scenario], None]) -> None:
    async def scenario(post: Post, lost: Lost) -> None:
        await post.post("ada", send("lin", key="a"))
        (handled,) = _ids("a")
        await _lose_inbox(post.bus, "lin")
        acked = fact("lin", handled, Step(MessageState.ACKED, [handled], "t"))
        await post.bus.append(streams.EVENTS, acked)  # long ago, but it is not on record yet
        await _look(lost, 3)
        await post.record()
        await _look(lost, 3)
        assert await inbox(post.bus, "lin") == []

    with_lost(scenario)


def test_what_was_given_up_stays_so(with_lost: Callable[[Scenario], None]) -> None:
    async def scenario(post: Post, lost: Lost) -> None:
        await post.post("ada", send("lin", key="a"))
        await _lose_inbox(post.bus, "lin")
        await _look(lost, 1)
        writer = DeadLetterWriter(post.messages.store)
        await asyncio.to_thread(writer.give_up, "lin", _ids("a")[0], MessageState.DEAD, reason="enough", at=1)
        await _look(lost, 2)
        assert await inbox(post.bus, "lin") == []

    with_lost(scenario)

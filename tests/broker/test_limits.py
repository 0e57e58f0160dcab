"""How much may be sent: rates, full inboxes, endless conversations; broadcasts and flags."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.broker.post import Post, inbox, send, told, told_as
from tests.support.failing_bus import FailingBus

from hive_broker.config import BrokerSettings
from hive_broker.depths import Depths
from hive_broker.limits import Buckets, Limits, Traces
from hive_contracts import streams
from hive_contracts.errors import LoopGuard, TooFast
from hive_contracts.ids import message_id
from hive_contracts.messages import LoopStopped, MessageAccepted, MessageRefused
from hive_contracts.names import MANAGER, SYSTEM
from hive_runtime.bus import Bus
from hive_runtime.errors import BusUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.traffic import Delivered, delivered_since

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
Scenario = Callable[[Post], Awaitable[None]]
Open = Callable[..., None]

STEPS = st.lists(st.tuples(st.floats(0, 30), st.booleans()), max_size=200)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def with_limits(on_bus: OnBus, tmp_path: Path) -> Open:
    """Runs a scenario in a hive of ada, lin, eve and the manager, under settings of its own and a clock that stands."""

    def run(scenario: Scenario, **settings: Any) -> None:
        async def on_this(bus: Bus) -> None:
            limits = Limits(BrokerSettings(**settings), clock=Clock())
            post = await Post.open(bus, tmp_path, "ada", "lin", "eve", MANAGER, limits=limits)
            try:
                await scenario(post)
            finally:
                post.messages.close()

        on_bus(on_this)

    return run


async def codes(post: Post, sender: str) -> list[str]:
    """What the sender was answered: `ok`, or the code of a refusal."""
    answers = await told(post.bus, streams.control(sender))
    return ["ok" if answer.type == MessageAccepted.TYPE else answer.payload(MessageRefused).code for answer in answers]


@given(st.integers(1, 200), STEPS)
def test_no_minute_has_more_than_twice_the_rate_and_none_waits_for_ever(
    rate: int, steps: list[tuple[float, bool]]
) -> None:
    """A full bucket and its refill: the bound of a token bucket."""
    buckets, now, taken = Buckets(rate), 0.0, list[float]()
    for pause, _ in steps:
        now += pause / rate
        wait_s = buckets.wait_s("x", now)
        if wait_s == 0:
            buckets.take("x", now)
            taken.append(now)
        else:
            assert buckets.wait_s("x", now + wait_s + 1e-6) == 0
        assert sum(time > now - 60 for time in taken) <= 2 * rate


@given(st.integers(1, 50), st.lists(st.floats(0, 100), max_size=100))
def test_a_window_counts_what_is_in_it(window_s: int, pauses: list[float]) -> None:
    traces, now, times = Traces(window_s), 0.0, list[float]()
    for pause in pauses:
        now += pause
        traces.add("t", now)
        times.append(now)
        assert traces.count("t", now) == sum(time > now - window_s for time in times)
        assert traces.count("other", now) == 0


@given(st.lists(st.tuples(st.sampled_from(["ada", "lin", "operator"]), st.floats(0, 5)), max_size=60))
def test_a_broker_that_starts_again_limits_as_the_one_before(sends: list[tuple[str, float]]) -> None:
    settings = BrokerSettings(sender_per_minute=10, pair_per_minute=8, trace_messages=15, trace_window_s=90)
    clock, before, history = Clock(), list[bool](), list[Delivered]()
    limits = Limits(settings, clock=clock)
    for number, (sender, pause) in enumerate(sends):
        clock.now += pause
        before.append(_passes(limits, sender))
        if before[-1]:
            limits.count(sender, "eve", "t")
            history.append(Delivered(sender, "eve", "t", broadcast=False, sent_at=number, at=clock.now))
        anew = Limits(settings, clock=clock)
        anew.rebuild(item for item in history if item.at >= clock.now - anew.lookback_s)
        for name in ("ada", "lin", "operator"):
            if _passes(limits, name):
                assert _passes(anew, name)
            elif sum(item.at < clock.now - 60 for item in history) == 0:
                assert not _passes(anew, name)


def _passes(limits: Limits, sender: str) -> bool:
    try:
        limits.check(sender, "eve", "t", 0)
    except (TooFast, LoopGuard):
        return False
    return True


def test_a_sender_over_its_rate_is_refused_and_told_when_to_go_on(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", *(send("lin", str(n)) for n in range(2)), *(send("eve", str(n)) for n in range(2)))
        assert await codes(post, "ada") == ["ok", "ok", "ok", "too_fast"]
        refused = (await told_as(post.bus, streams.control("ada"), MessageRefused))[0]
        assert refused.reason == "you may send 3 messages a minute; the next in 20.0 s"
        assert refused.retry
        assert len(await inbox(post.bus, "eve")) == 1

    with_limits(scenario, sender_per_minute=3)


def test_a_pair_has_a_rate_of_its_own(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin", "1"), send("lin", "2"), send("lin", "3"), send("eve", "4"))
        assert await codes(post, "ada") == ["ok", "ok", "too_fast", "ok"]

    with_limits(scenario, pair_per_minute=2)


def test_the_operator_has_no_rate(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("operator", *(send("lin", str(number)) for number in range(9)))
        assert await codes(post, "operator") == ["ok"] * 9

    with_limits(scenario, sender_per_minute=1, pair_per_minute=1, trace_messages=1)


def test_what_was_taken_on_is_not_refused_when_it_comes_again(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin", key="k"))
        await post.post("ada", send("lin", key="k"), send("lin", key="other"))
        assert await codes(post, "ada") == ["ok", "ok", "too_fast"]
        assert len(await inbox(post.bus, "lin")) == 1

    with_limits(scenario, sender_per_minute=1)


def test_rates_are_rebuilt_from_the_store(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin"), send("eve"), send("*"))
        found = delivered_since(post.messages.store, 0)
        assert [(item.sender, item.recipient, item.broadcast) for item in found] == [
            ("ada", "lin", False),
            ("ada", "eve", False),
            *(("ada", name, True) for name in ("eve", MANAGER, "lin")),
        ]
        clock = Clock()
        clock.now = found[-1].at
        anew = Limits(BrokerSettings(sender_per_minute=4), clock=clock)
        anew.rebuild(found)
        anew.check("ada", "lin", "t", 0)
        anew.count("ada", "lin", "t")
        with pytest.raises(TooFast):
            anew.check("ada", "lin", "t", 0)

    with_limits(scenario)


def test_a_filling_inbox_is_told_and_a_full_one_refuses(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", *(send("lin", str(number)) for number in range(4)))
        await post.post("eve", send("lin", "5"))
        notes = [fact.note for fact in await told_as(post.bus, streams.control("ada"), MessageAccepted)]
        assert notes == ["", "", "2 messages wait in the inbox of lin already"]
        assert await codes(post, "ada") == ["ok", "ok", "ok", "inbox_full"]
        assert await codes(post, "eve") == ["inbox_full"]
        await post.post("eve", send("*", "to whom it reaches"))
        (accepted,) = await told_as(post.bus, streams.control("eve"), MessageAccepted)
        assert accepted.note == "sent to 2: ada, hm1nd; not to lin: too many messages wait there"

    with_limits(scenario, inbox_soft=2, inbox_hard=3)


async def _pass_on(post: Post, route: list[str]) -> None:
    """Each of `route` answers the message that reached it."""
    for sender, to in pairwise(route):
        last = (await inbox(post.bus, sender))[-1]
        await post.post(sender, send(to, "thanks", cause=last.id))


def test_a_ring_is_stopped_by_its_hops_and_told_once(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("operator", send("ada", "go", key="start"))
        trace = message_id("operator", "start", "ada")
        await _pass_on(post, ["ada", "lin", "eve", "ada", "lin", "eve"])
        await _pass_on(post, ["lin", "eve"])
        refused = await told_as(post.bus, streams.EVENTS, MessageRefused)
        assert {fact.code for fact in refused} == {"loop_guard"}
        assert not any(fact.retry for fact in refused)
        assert len(refused) == 2
        (stopped,) = await told_as(post.bus, streams.EVENTS, LoopStopped)
        assert (stopped.trace_id, stopped.sender, stopped.hop) == (trace, "lin", 5)
        for name in ("operator", MANAGER):
            (notice,) = await inbox(post.bus, name)
            assert notice.sender == SYSTEM
            assert f"hive trace {trace}" in notice.body
            assert notice.trace_id == notice.id

    with_limits(scenario, max_hops=4)


def test_a_conversation_is_stopped_by_its_messages_within_the_window(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("operator", send("ada", key="start"))
        (start,) = await inbox(post.bus, "ada")
        await post.post("ada", *(send("lin", str(number), cause=start.id) for number in range(5)))
        assert await codes(post, "ada") == ["ok"] * 3 + ["loop_guard"] * 2
        await post.post("ada", send("lin", "about something else"))
        assert (await codes(post, "ada"))[-1] == "ok"
        assert isinstance(post.limits._clock, Clock)
        post.limits._clock.now += 601
        await post.post("ada", send("lin", "later", cause=start.id))
        assert (await codes(post, "ada"))[-1] == "ok"

    with_limits(scenario, trace_messages=3)


def test_the_operators_word_lets_a_conversation_begin_anew(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("operator", send("ada", key="start"))
        await _pass_on(post, ["ada", "lin", "operator"])
        (asked,) = await inbox(post.bus, "operator")
        await post.post("lin", send("ada", "one more", cause=(await inbox(post.bus, "lin"))[-1].id))
        assert (await codes(post, "lin"))[-1] == "loop_guard"
        await post.post("operator", send("lin", "go on", reply=asked.id))
        word = (await inbox(post.bus, "lin"))[-1]
        assert (word.hop, word.trace_id, word.in_reply_to) == (0, asked.trace_id, asked.id)
        await post.post("lin", send("ada", "now", cause=word.id))
        assert (await codes(post, "lin"))[-1] == "ok"

    with_limits(scenario, trace_messages=2)


def test_the_operator_may_write_into_a_conversation_of_others(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("eve", send("ada", key="start"))
        await _pass_on(post, ["ada", "lin", "ada"])
        assert (await codes(post, "lin"))[-1] == "loop_guard"
        last = (await inbox(post.bus, "lin"))[-1]
        await post.post("operator", send("lin", "enough of it", reply=last.id))
        word = (await inbox(post.bus, "lin"))[-1]
        assert (word.hop, word.trace_id, word.in_reply_to) == (0, last.trace_id, last.id)
        await post.post("lin", send("ada", "we stop", cause=word.id))
        assert (await codes(post, "lin"))[-1] == "ok"

    with_limits(scenario, trace_messages=2)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "reply lost"])
def test_a_crash_at_any_step_stops_a_loop_once(with_limits: Open, *, after: bool) -> None:
    async def scenario(post: Post) -> None:
        crashes = 0
        while await _crash_in_a_loop(post, crashes, after=after):
            crashes += 1
        assert crashes >= 6

    with_limits(scenario, max_hops=1, sender_per_minute=10_000, pair_per_minute=10_000)


async def _crash_in_a_loop(post: Post, step: int, *, after: bool) -> bool:
    await post.post("operator", send("ada", key=f"start{step}"))
    trace = message_id("operator", f"start{step}", "ada")
    await _pass_on(post, ["ada", "lin"])
    last = (await inbox(post.bus, "lin"))[-1]
    await post.bus.append(streams.outbox("lin"), send("eve", "on", cause=last.id, key=f"on{step}"))
    entries, bus = await post.take("lin"), FailingBus(post.bus, fail_at=step, after=after)
    try:
        await post.worker("lin", bus).handle(entries)
    except BusUnavailable:
        await post.worker("lin").handle(entries)
    for name in ("operator", MANAGER):
        assert sum(trace in notice.body for notice in await inbox(post.bus, name)) == 1
    assert await inbox(post.bus, "eve") == []
    return bus.failed


def test_a_broadcast_makes_one_message_for_every_other_agent(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        for _ in range(2):
            await post.post("ada", send("*", "hear", key="k"))
        for name in ("lin", "eve", MANAGER):
            (message,) = await inbox(post.bus, name)
            assert (message.id, message.broadcast) == (message_id("ada", "k", name), True)
            assert (message.trace_id, message.hop) == (message_id("ada", "k", "*"), 0)
        for name in ("ada", "operator"):
            assert await inbox(post.bus, name) == []
        answers = await told_as(post.bus, streams.control("ada"), MessageAccepted)
        assert [(answer.to, answer.count, answer.note) for answer in answers] == [
            ("*", 3, "sent to 3: eve, hm1nd, lin")
        ] * 2
        recorded = post.records.get(message_id("ada", "k", "lin"))
        assert recorded
        assert recorded.broadcast

    with_limits(scenario)


def test_a_broadcast_of_the_only_agent_is_refused(on_bus: OnBus, tmp_path: Path) -> None:
    async def on_this(bus: Bus) -> None:
        post = await Post.open(bus, tmp_path, "ada")
        await post.post("ada", send("*"))
        (refused,) = await told_as(bus, streams.control("ada"), MessageRefused)
        assert refused.reason == "there is no other agent to send this to"
        post.messages.close()

    on_bus(on_this)


def test_flags_reach_the_recipient_and_only_some_may_be_urgent(with_limits: Open) -> None:
    async def scenario(post: Post) -> None:
        await post.post("ada", send("lin", "quiet", context_only=True), send("lin", "now!", urgent=True))
        await post.post("operator", send("lin", "now", urgent=True))
        await post.post(MANAGER, send("lin", "now", urgent=True))
        assert [(m.sender, m.context_only, m.urgent) for m in await inbox(post.bus, "lin")] == [
            ("ada", True, False),
            ("operator", False, True),
            (MANAGER, False, True),
        ]
        assert await codes(post, "ada") == ["ok", "refused"]

    with_limits(scenario)


class CountingBus(MemoryBus):
    asked = 0

    async def depth(self, stream: str) -> int:
        self.asked += 1
        return await super().depth(stream)


def test_an_inbox_is_asked_for_its_depth_only_when_it_may_be_filling() -> None:
    async def scenario() -> None:
        bus = CountingBus()
        depths = Depths(bus, 3)
        for bound in (0, 1, 2):
            assert await depths.at_most("lin", on_the_way=0) == bound
            depths.add("lin")
        assert bus.asked == 1
        assert await depths.at_most("lin", on_the_way=1) == 1
        assert bus.asked == 2

    asyncio.run(scenario())

"""Dead letters: when a message is given up, that nothing of it happens twice or halfway, and the way back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.broker.post import Post, inbox, register, send, told, told_as
from tests.support.failing_bus import FailingBus
from tests.support.redis_server import RedisServer

from hive_broker.commands import Commands
from hive_broker.recorder import Recorder
from hive_contracts import streams
from hive_contracts.agents import CommandDone, CommandFailed, TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.ids import message_id, new_id
from hive_contracts.messages import MessageDead, MessageState, RedriveMessage
from hive_contracts.names import MANAGER, OPERATOR, SYSTEM
from hive_contracts.outcomes import CONSEQUENCES, is_done
from hive_contracts.turns import TurnEnded, TurnJoined, TurnStarted
from hive_runtime.bus import Ack, Batch, Bus, Entry
from hive_runtime.errors import BusUnavailable
from hive_runtime.redis_bus import RedisBus, connect

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
DAY_MS = 24 * 3600 * 1000


@dataclass
class Ward:
    """A hive of ada, lin and the manager, in which lin's turns are played."""

    post: Post
    time_ms: int = 0
    turns: list[str] = field(default_factory=list)

    @property
    def bus(self) -> Bus:
        return self.post.bus

    async def sent(self, key: str = "k", *, to: str = "lin", sender: str = "ada") -> str:
        await self.post.post(sender, send(to, f"body {key}", key=key))
        return message_id(sender, key, to)

    async def live(self, *payloads: object) -> None:
        """lin's harness says so, and the broker records it."""
        recorder = Recorder(
            "lin", bus=self.bus, messages=self.post.messages, events=None, dead=self.post.dead_letters()
        )
        entries = []
        for payload in payloads:
            envelope = Envelope.of(payload, source="lin")  # type: ignore[arg-type]
            entry_id = await self.bus.append(streams.live("lin"), envelope)
            entries.append(Entry(streams.live("lin"), entry_id, envelope.encode()))
        await recorder.handle(entries)

    async def take_up(self, *ids: str) -> str:
        turn = new_id()
        await self.live(TurnStarted(turn_id=turn, seq=0, messages=ids[:1]))
        if ids[1:]:
            await self.live(TurnJoined(turn_id=turn, seq=1, messages=ids[1:]))
        return turn

    async def fail(self, *ids: str, outcome: TurnOutcome = TurnOutcome.ENGINE_CRASHED) -> None:
        turn = await self.take_up(*ids)
        await self.live(TurnEnded(turn_id=turn, seq=2, outcome=outcome, reason="boom", messages=ids))

    def state(self, name: str) -> str:
        view = self.post.records.get(name)
        assert view
        return view.state.value

    async def command(self, identity: str, *, key: str = "c", bus: Bus | None = None) -> Envelope:
        """The answer to a redrive."""
        bus = bus or self.bus
        commands = Commands(bus, {RedriveMessage.TYPE: self.post.dead_letters(bus).redrive})
        envelope = Envelope.of(RedriveMessage(message_id=identity), source="operator", id=key)
        await commands.handle([Entry(streams.COMMANDS_BROKER, "1-1", envelope.encode())])
        answers = [event for event in await told(self.bus, streams.EVENTS) if event.correlation_id == key]
        return [event for event in answers if event.type in {CommandDone.TYPE, CommandFailed.TYPE}][-1]


@pytest.fixture
def in_ward(on_bus: OnBus, tmp_path: Path) -> Callable[[Callable[[Ward], Awaitable[None]]], None]:
    def run(scenario: Callable[[Ward], Awaitable[None]]) -> None:
        async def on_this(bus: Bus) -> None:
            post = await Post.open(bus, tmp_path, "ada", "lin", MANAGER)
            await bus.ensure_group(streams.COMMANDS_BROKER, streams.GROUP_BROKER)
            try:
                await scenario(Ward(post))
            finally:
                post.messages.close()

        on_bus(on_this)

    return run


InWard = Callable[[Callable[[Ward], Awaitable[None]]], None]


def test_a_message_whose_turns_fail_is_given_up_at_the_limit(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad, good = await ward.sent("bad"), await ward.sent("good")
        for _ in range(4):
            await ward.fail(bad)
        assert ward.state(bad) == "failed"
        await ward.fail(bad)
        assert ward.state(bad) == "dead"
        await ward.post.dead_letters().bury()
        assert [message.id for message in await inbox(ward.bus, "lin")] == [good]
        (dead,) = await told_as(ward.bus, streams.DEAD, MessageDead)
        assert (dead.message.id, dead.state, dead.attempts) == (bad, MessageState.DEAD, 5)
        assert dead.reason == "5 tries failed, the last with: engine_crashed: boom"
        assert [step.state.value for step in dead.history].count("failed") == 5
        assert dead.message.id in {fact.message.id for fact in await told_as(ward.bus, streams.EVENTS, MessageDead)}
        assert [view.id for view in ward.post.records.dead()] == [bad]
        assert ward.post.records.unread()["lin"] == 1

    in_ward(scenario)


def test_sender_and_manager_are_told_once(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad = await ward.sent("bad")
        for _ in range(5):
            await ward.fail(bad)
        for _ in range(2):
            await ward.post.dead_letters().bury()
        for name in ("ada", MANAGER):
            (notice,) = await inbox(ward.bus, name)
            assert notice.sender == SYSTEM
            assert bad in notice.body
            assert "engine_crashed: boom" in notice.body
            assert (notice.trace_id, notice.hop) == (bad, 1)
        assert await inbox(ward.bus, "operator") == []

    in_ward(scenario)


def test_a_notice_that_dies_makes_no_further_notice(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        (notice,) = await ward.post.dead_letters().mail.tell(["lin"], "hear", key="x")
        for _ in range(5):
            await ward.fail(notice)
        await ward.post.record()
        await ward.post.dead_letters().bury()
        assert ward.state(notice) == "dead"
        assert await inbox(ward.bus, MANAGER) == []

    in_ward(scenario)


@pytest.mark.slow
@pytest.mark.parametrize(
    "outcome",
    [outcome for outcome, follows in CONSEQUENCES.items() if not follows.counts and not is_done(outcome)],
)
def test_what_no_message_is_to_blame_for_does_not_count(in_ward: InWard, outcome: TurnOutcome) -> None:
    async def scenario(ward: Ward) -> None:
        sent = await ward.sent()
        for _ in range(12):
            await ward.fail(sent, outcome=outcome)
        assert ward.state(sent) == "failed"
        for _ in range(4):
            await ward.fail(sent)
        assert ward.state(sent) == "failed"
        await ward.fail(sent)
        assert ward.state(sent) == "dead"

    in_ward(scenario)


def test_a_message_that_ends_its_harness_each_time_is_given_up(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        sent = await ward.sent()
        for _ in range(5):
            await ward.take_up(sent)
        assert ward.state(sent) == "in_turn"
        await ward.take_up(sent)
        assert ward.state(sent) == "dead"
        (view,) = ward.post.records.dead()
        assert view.steps[-1].detail == "taken up 6 times without an end; it may end its harness each time"

    in_ward(scenario)


def test_the_message_that_began_the_turn_is_to_blame_not_those_that_joined(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad, joined = await ward.sent("bad"), await ward.sent("joined")
        for _ in range(5):
            await ward.fail(bad, joined)
        assert (ward.state(bad), ward.state(joined)) == ("dead", "failed")
        await ward.fail(joined)
        assert ward.state(joined) == "failed"

    in_ward(scenario)


def test_a_last_turn_that_ends_well_after_all_is_the_truth(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        sent = await ward.sent()
        for _ in range(6):
            turn = await ward.take_up(sent)
        assert ward.state(sent) == "dead"
        await ward.live(TurnEnded(turn_id=turn, seq=1, outcome=TurnOutcome.OK, messages=(sent,)))
        assert ward.state(sent) == "acked"
        assert ward.post.records.dead() == []

    in_ward(scenario)


def test_an_agent_cannot_give_up_what_is_anothers(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        others = await ward.sent("x", to=MANAGER)
        for _ in range(9):
            await ward.fail(others)
        assert ward.state(others) == "delivered"

    in_ward(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "reply lost"])
def test_a_crash_at_any_step_of_giving_up_loses_and_repeats_nothing(in_ward: InWard, *, after: bool) -> None:
    async def scenario(ward: Ward) -> None:
        crashes = 0
        while await _crash_in_burial(ward, crashes, after=after):
            crashes += 1
        assert crashes >= 5

    in_ward(scenario)


async def _crash_in_burial(ward: Ward, step: int, *, after: bool) -> bool:
    bad = await ward.sent(f"{after}-{step}")
    for _ in range(5):
        await ward.fail(bad)
    bus = FailingBus(ward.bus, fail_at=step, after=after)
    try:
        await ward.post.dead_letters(bus).bury()
    except BusUnavailable:
        await ward.post.dead_letters().bury()
    assert bad not in {message.id for message in await inbox(ward.bus, "lin")}
    assert len({fact.id for fact in await told(ward.bus, streams.DEAD) if fact.subject == bad}) == 1
    for name in ("ada", MANAGER):
        assert sum(bad in notice.body for notice in await inbox(ward.bus, name)) == 1
    assert ward.state(bad) == "dead"
    return bus.failed


def test_a_redrive_puts_the_same_message_back_and_forgets_its_tries(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad = await ward.sent()
        for _ in range(5):
            await ward.fail(bad)
        answer = await ward.command(bad)
        assert answer.payload(CommandDone).subject == bad
        (back,) = await inbox(ward.bus, "lin")
        assert (back.id, back.sender, back.body) == (bad, "ada", "body k")
        view = ward.post.records.get(bad)
        assert view
        assert (view.state, view.attempts) == (MessageState.DELIVERED, 0)
        assert "sent again by the operator" in {step.detail for step in view.steps}  # one millisecond has no order
        for _ in range(4):
            await ward.fail(bad)
        assert ward.state(bad) == "failed"
        await ward.fail(bad)
        await ward.post.dead_letters().bury()
        assert ward.state(bad) == "dead"
        assert await inbox(ward.bus, "lin") == []
        assert len({fact.id for fact in await told(ward.bus, streams.DEAD)}) == 2

    in_ward(scenario)


def test_a_redrive_of_what_is_no_dead_letter_is_refused(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad = await ward.sent()
        for _ in range(5):
            await ward.fail(bad)
        await ward.command(bad, key="first")
        second = await ward.command(bad, key="second")
        assert second.payload(CommandFailed).code == "refused"
        assert "is no dead letter, it is delivered" in second.payload(CommandFailed).reason
        assert len(await inbox(ward.bus, "lin")) == 1
        assert (await ward.command("m-unknown", key="third")).payload(CommandFailed).code == "not_found"
        again = await ward.command(bad, key="first")
        assert again.type == CommandDone.TYPE
        assert len(await inbox(ward.bus, "lin")) == 1

    in_ward(scenario)


def test_a_redrive_to_an_agent_that_is_gone_is_refused(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad = await ward.sent()
        for _ in range(5):
            await ward.fail(bad)
        await ward.bus.hash_delete(streams.AGENTS, ["lin"])
        failed = (await ward.command(bad)).payload(CommandFailed)
        assert "no agent called lin any more" in failed.reason
        assert ward.state(bad) == "dead"

    in_ward(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "reply lost"])
def test_a_crash_at_any_step_of_a_redrive_delivers_once(in_ward: InWard, *, after: bool) -> None:
    async def scenario(ward: Ward) -> None:
        crashes = 0
        while await _crash_in_redrive(ward, crashes, after=after):
            crashes += 1
        assert crashes >= 5

    in_ward(scenario)


async def _crash_in_redrive(ward: Ward, step: int, *, after: bool) -> bool:
    key = f"{after}-{step}"
    bad = await ward.sent(key)
    for _ in range(5):
        await ward.fail(bad)
    bus = FailingBus(ward.bus, fail_at=step, after=after)
    try:
        await ward.command(bad, key=key, bus=bus)
    except BusUnavailable:
        await ward.command(bad, key=key)
    assert [message.id for message in await inbox(ward.bus, "lin")].count(bad) == 1
    assert ward.state(bad) == "delivered"
    answers = {event.id: event.type for event in await told(ward.bus, streams.EVENTS) if event.correlation_id == key}
    assert answers[f"{key}:answer"] == CommandDone.TYPE
    return bus.failed


@pytest.mark.parametrize("kind", ["from.the.future", RedriveMessage.TYPE])
def test_a_command_that_is_not_understood_is_answered(in_ward: InWard, kind: str) -> None:
    async def scenario(ward: Ward) -> None:
        commands = Commands(ward.bus, {RedriveMessage.TYPE: ward.post.dead_letters().redrive})
        odd = Envelope(source="operator", type=kind, id="odd", data={"message_id": 7})
        await commands.handle(
            [
                Entry(streams.COMMANDS_BROKER, "1-1", {"rubbish": "x"}),
                Entry(streams.COMMANDS_BROKER, "1-2", odd.encode()),
            ]
        )
        (failed,) = await told_as(ward.bus, streams.EVENTS, CommandFailed)
        assert failed.code == "invalid"

    in_ward(scenario)


def test_what_waits_too_long_for_an_agent_that_does_not_run_expires(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        old = await ward.sent("old")
        (delivered,) = [s for s in ward.post.records.get(old).steps if s.state.value == "delivered"]  # type: ignore[union-attr]
        now = round(delivered.at.timestamp() * 1000)
        for days, state in ((6, "delivered"), (8, "expired")):
            dead = ward.post.dead_letters(clock=lambda days=days: now + days * DAY_MS)  # type: ignore[misc]
            await dead.expire()
            await dead.bury()
            assert ward.state(old) == state
        (fact,) = await told_as(ward.bus, streams.DEAD, MessageDead)
        assert (fact.state, fact.reason) == (MessageState.EXPIRED, "lin did not come back within 7 days")
        assert await inbox(ward.bus, "lin") == []
        assert len(await inbox(ward.bus, "ada")) == 1
        assert (await ward.command(old)).type == CommandDone.TYPE
        assert len(await inbox(ward.bus, "lin")) == 1

    in_ward(scenario)


def test_what_waits_for_an_agent_that_runs_or_for_the_operator_does_not_expire(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        await register(ward.bus, "lin", running=True)
        await ward.post.directory.refresh()
        waiting = [await ward.sent(), await ward.sent(to="operator")]
        far = ward.post.dead_letters(clock=lambda: 10**14)
        await far.expire()
        await far.bury()
        assert [ward.state(name) for name in waiting] == ["delivered", "delivered"]

    in_ward(scenario)


def test_an_entry_gone_from_the_inbox_already_is_no_obstacle(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        bad = await ward.sent()
        for _ in range(5):
            await ward.fail(bad)
        entry = await ward.bus.last_id(streams.inbox("lin"))
        await ward.bus.write(Batch(acks=[Ack(streams.inbox("lin"), streams.GROUP_HARNESS, [entry], delete=True)]))
        await ward.post.dead_letters().bury()
        assert len(await told(ward.bus, streams.DEAD)) == 1

    in_ward(scenario)


def test_a_cancelled_message_is_done_with_and_its_sender_is_told_once(in_ward: InWard) -> None:
    async def scenario(ward: Ward) -> None:
        mine, operators = await ward.sent(), await ward.sent("o", sender=OPERATOR)
        turn = await ward.take_up(mine, operators)
        ended = TurnEnded(turn_id=turn, seq=9, outcome=TurnOutcome.CANCELLED, messages=(mine, operators))
        for _ in range(2):
            await ward.live(ended)
        assert (ward.state(mine), ward.state(operators)) == ("acked", "acked")
        (notice,) = await inbox(ward.bus, "ada")
        assert notice.sender == "system"
        assert f"cancelled the turn of lin that was about your message {mine}" in notice.body
        assert await inbox(ward.bus, OPERATOR) == []

    in_ward(scenario)


def test_what_a_running_harness_holds_expires_only_without_a_sign_of_life(redis: RedisServer, tmp_path: Path) -> None:
    """A turn of eight days is left alone while its harness keeps what it holds."""

    async def scenario() -> None:
        async with aclosing(RedisBus(redis.address)) as bus, aclosing(connect(redis.address)) as server:
            post = await Post.open(bus, tmp_path, "ada", "lin", MANAGER)
            ward = Ward(post)
            await register(bus, "lin", running=True)
            await post.directory.refresh()
            old = await ward.sent("old")
            async with aclosing(bus.reader()) as reader:
                (entry,) = await reader.read_new(streams.inbox("lin"), "harness", "lin", count=1, block_ms=0)
            dead = post.dead_letters(clock=lambda: time.time_ns() // 1_000_000 + 8 * DAY_MS)
            await dead.expire()
            assert ward.state(old) == "delivered"
            await server.xclaim(streams.inbox("lin"), "harness", "lin", 0, [entry.id], idle=8 * DAY_MS, justid=True)
            await dead.expire()
            await dead.bury()
            assert ward.state(old) == "expired"
            assert await inbox(bus, "lin") == []
            assert await bus.held(streams.inbox("lin"), "harness") == {}
            (fact,) = await told_as(bus, streams.DEAD, MessageDead)
            assert fact.reason == "lin holds it without a sign of life for 7 days"
            post.messages.close()

    asyncio.run(scenario())

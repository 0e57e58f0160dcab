"""From a live stream to the stores: what turns say of messages, and whose word counts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.broker.post import told
from tests.support.failing_bus import FailingBus

from hive_broker.config import BrokerSettings
from hive_broker.dead_letters import DeadLetters
from hive_broker.directory import Directory
from hive_broker.known import Known
from hive_broker.mail import Mail
from hive_broker.recorder import Recorder
from hive_contracts import streams
from hive_contracts.agents import AgentLoggedIn, TurnOutcome
from hive_contracts.envelope import Envelope, Payload
from hive_contracts.messages import Message, MessageAcked, MessageFailed, MessageInTurn, MessageState
from hive_contracts.stores import StoreReplaced
from hive_contracts.turns import TurnEnded, TurnJoined, TurnStarted, TurnText
from hive_runtime.bus import Bus, Entry
from hive_runtime.errors import BusUnavailable, StoreUnavailable
from hive_runtime.memory_bus import MemoryBus
from hive_runtime.records.dead import DeadLetterWriter
from hive_runtime.records.events import EventReader, EventWriter
from hive_runtime.records.messages import MessageReader, MessageWriter, from_milliseconds

Scenario = Callable[["Desk"], Awaitable[None]]
STREAM = streams.live("lin")


@dataclass(frozen=True, slots=True)
class Desk:
    """A recorder of lin's; m-1 and m-2 are hers, m-eve is not."""

    bus: Bus
    messages: MessageWriter
    events: EventWriter
    data_dir: Path

    def recorder(self, bus: Bus | None = None) -> Recorder:
        bus = bus or self.bus
        return Recorder("lin", bus=bus, messages=self.messages, events=self.events, dead=self.dead_letters(bus))

    def dead_letters(self, bus: Bus) -> DeadLetters:
        directory = Directory(bus)
        return DeadLetters(
            bus=bus,
            writer=DeadLetterWriter(self.messages.store),
            directory=directory,
            mail=Mail(bus, Known(bus, self.messages), directory),
            settings=BrokerSettings(),
        )

    async def take(self, *, again: bool = False) -> list[Entry]:
        async with aclosing(self.bus.reader()) as reader:
            if again:
                return await reader.read_pending(STREAM, streams.GROUP_RECORDER, "broker", after="0", count=99)
            return await reader.read_new(STREAM, streams.GROUP_RECORDER, "broker", count=99, block_ms=0)

    async def live(self, *payloads: Payload) -> None:
        for payload in payloads:
            await self.bus.append(STREAM, Envelope.of(payload, source="lin"))

    async def record(self, *payloads: Payload) -> None:
        await self.live(*payloads)
        await self.recorder().handle(await self.take())

    def state(self, name: str) -> MessageState | None:
        view = MessageReader(self.data_dir / "broker.sqlite").get(name)
        return view.state if view else None

    def recorded(self) -> list[str]:
        return [event.type for event in EventReader(self.data_dir / "events.sqlite").page()]

    async def facts(self) -> list[tuple[str, str]]:
        return [(event.type, event.subject) for event in await told(self.bus, streams.EVENTS)]


def _at_a_desk(tmp_path: Path, scenario: Scenario) -> None:
    async def run() -> None:
        bus = MemoryBus()
        await bus.ensure_group(STREAM, streams.GROUP_RECORDER)
        with closing(MessageWriter(tmp_path / "broker.sqlite")) as messages:
            messages.record([(_message(*who), 0) for who in (("m-1", "lin"), ("m-2", "lin"), ("m-eve", "eve"))])
            with closing(EventWriter(tmp_path / "events.sqlite")) as events:
                await scenario(Desk(bus, messages, events, tmp_path))

    asyncio.run(run())


def _message(name: str, recipient: str) -> Message:
    return Message(id=name, sender="ada", recipient=recipient, body="x", sent_at=from_milliseconds(0), trace_id=name)


def started(*messages: str, turn: str = "t") -> TurnStarted:
    return TurnStarted(turn_id=turn, seq=0, messages=messages)


def ended(messages: Sequence[str], outcome: TurnOutcome = TurnOutcome.OK, reason: str = "") -> TurnEnded:
    return TurnEnded(turn_id="t", seq=9, outcome=outcome, reason=reason, messages=tuple(messages))


def test_a_turn_moves_its_messages_and_everyone_is_told(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.record(started("m-1"), TurnJoined(turn_id="t", seq=1, messages=("m-2",)))
        assert (desk.state("m-1"), desk.state("m-2")) == (MessageState.IN_TURN, MessageState.IN_TURN)
        await desk.record(TurnText(turn_id="t", seq=2, text="hm"), ended(["m-1", "m-2"]))
        assert (desk.state("m-1"), desk.state("m-2")) == (MessageState.ACKED, MessageState.ACKED)
        in_turn, acked = MessageInTurn.TYPE, MessageAcked.TYPE
        assert await desk.facts() == [(in_turn, "m-1"), (in_turn, "m-2"), (acked, "m-1"), (acked, "m-2")]
        assert desk.recorded() == ["turn.started", "turn.joined", "turn.text", "turn.ended"]
        assert await desk.take(again=True) == []

    _at_a_desk(tmp_path, scenario)


def test_a_turn_that_failed_says_why(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.record(started("m-1"), ended(["m-1"], TurnOutcome.RATE_LIMITED, "until noon"))
        await desk.record(started("m-2", turn="u"), ended(["m-2"], TurnOutcome.ENGINE_HUNG))
        assert desk.state("m-1") is MessageState.FAILED
        failed = [
            e.payload(MessageFailed) for e in await told(desk.bus, streams.EVENTS) if e.type == MessageFailed.TYPE
        ]
        assert [fact.reason for fact in failed] == ["rate_limited: until noon", "engine_hung"]

    _at_a_desk(tmp_path, scenario)


def test_nobody_tells_of_anothers_messages(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        others = ["m-eve", "m-unknown", "x" * 100_000]
        await desk.record(started(*others), ended(others), MessageAcked(message_id="m-eve", recipient="eve"))
        assert desk.state("m-eve") is MessageState.DELIVERED
        assert await desk.facts() == []

    _at_a_desk(tmp_path, scenario)


def test_nobody_tells_of_anothers_messages_in_a_redelivered_entry(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.live(started("m-eve", "m-1"), ended(["m-eve"]))
        await desk.take()
        await desk.recorder().handle(await desk.take(again=True))
        assert await desk.facts() == [(MessageInTurn.TYPE, "m-1")]

    _at_a_desk(tmp_path, scenario)


def test_a_message_read_by_the_operator_is_acked(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.record(MessageAcked(message_id="m-1", recipient="lin"))
        assert desk.state("m-1") is MessageState.ACKED
        assert await desk.facts() == [(MessageAcked.TYPE, "m-1")]

    _at_a_desk(tmp_path, scenario)


def test_a_store_that_breaks_under_the_recorder_is_made_again_from_the_stream(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        recorder = desk.recorder()
        texts = [TurnText(turn_id="t", seq=number, text=f"{number}" * 500) for number in range(40)]
        await desk.live(*texts[:30])
        await recorder.handle(await desk.take())
        path = desk.data_dir / "events.sqlite"
        desk.events.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        desk.events.store.connection.execute("PRAGMA shrink_memory")
        path.write_bytes(path.read_bytes()[:8192] + b"\xa5" * 100_000)
        await desk.live(*texts[30:])
        with pytest.raises(StoreUnavailable, match="cannot"):
            await recorder.handle(await desk.take())
        await recorder.handle(await desk.take(again=True))  # put back, then read again from the start
        await recorder.handle(await desk.take())
        assert [event.seq for event in EventReader(path).page()] == list(range(40))
        (replaced,) = [event for event in await told(desk.bus, streams.EVENTS) if event.type == StoreReplaced.TYPE]
        assert replaced.payload(StoreReplaced).store == "agents/lin/events.sqlite"
        assert (desk.data_dir / Path(replaced.payload(StoreReplaced).kept_as).name).exists()

    _at_a_desk(tmp_path, scenario)


@pytest.mark.parametrize("loss", ["all of it", "the newest"])
def test_what_a_store_lost_while_nobody_looked_is_recorded_again(tmp_path: Path, loss: str) -> None:
    async def scenario(desk: Desk) -> None:
        recorder, path = desk.recorder(), desk.data_dir / "events.sqlite"
        await desk.record(*(TurnText(turn_id="t", seq=number, text="hm") for number in range(5)))
        desk.events.store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = path.read_bytes()
        await desk.record(*(TurnText(turn_id="t", seq=number, text="hm") for number in range(5, 9)))
        desk.events.close()
        path.write_bytes(before if loss == "the newest" else b"")
        with closing(EventWriter(path)) as events:
            dead = desk.dead_letters(desk.bus)
            recorder = Recorder("lin", bus=desk.bus, messages=desk.messages, events=events, dead=dead)
            assert await recorder.align()
            again = await desk.take()
            await recorder.handle(again)
            assert len(again) == (4 if loss == "the newest" else 9)
            assert [event.seq for event in EventReader(path).page()] == list(range(9))
            assert not await recorder.align()

    _at_a_desk(tmp_path, scenario)


def test_waking_from_rest_is_no_news(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        recorder = desk.recorder()
        for number in range(3):
            await recorder.rest()
            await desk.live(TurnText(turn_id="t", seq=number, text="hm"))
            await recorder.handle(await desk.take())  # given out before the store was open: it comes again
            await recorder.handle(await desk.take())
        assert [event.seq for event in EventReader(desk.data_dir / "events.sqlite").page()] == [0, 1, 2]

    with capture_logs() as lines:
        _at_a_desk(tmp_path, scenario)
    assert lines == []


def test_a_crash_at_any_step_tells_every_fact_with_one_id(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.live(started("m-1", "m-2"), ended(["m-1"]))
        entries = await desk.take()
        for step in range(4):
            with pytest.raises(BusUnavailable):
                await desk.recorder(FailingBus(desk.bus, fail_at=step)).handle(entries)
            entries = await desk.take(again=True)
            assert [entry.redelivered for entry in entries] == [True, True]
        await desk.recorder().handle(entries)
        assert await desk.take(again=True) == []
        events = await told(desk.bus, streams.EVENTS)
        assert {event.id for event in events} == {"m-1:in_turn:t", "m-2:in_turn:t", "m-1:acked:t"}
        assert desk.recorded() == ["turn.started", "turn.ended"]

    _at_a_desk(tmp_path, scenario)


def test_what_is_malformed_or_unknown_is_passed_over(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        good = Envelope.of(started("m-1"), source="lin").encode()
        fields = [
            {"rubbish": "x"},
            {},
            good | {"data": '{"turn_id": "t", "seq": -1}'},
            good | {"data": '{"turn_id": "t", "seq": 0, "messages": 7}', "id": "a"},
            good | {"data": '{"turn_id": "\\ud800", "seq": 0, "messages": ["\\udfff", "\\u0000"]}', "id": "b"},
            good | {"type": "turn.from_the_future", "id": "c"},
            good | {"id": "d"},
        ]
        entries = [Entry(STREAM, f"{2**64 - 1}-{number}", found) for number, found in enumerate(fields)]
        await desk.recorder().handle(entries)
        assert desk.state("m-1") is MessageState.IN_TURN
        assert await desk.facts() == [(MessageInTurn.TYPE, "m-1")]
        assert desk.recorded()[-2:] == ["turn.from_the_future", "turn.started"]

    _at_a_desk(tmp_path, scenario)


def test_without_an_event_store_messages_still_move(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.live(started("m-1"))
        recorder = Recorder("lin", bus=desk.bus, messages=desk.messages, events=None, dead=desk.dead_letters(desk.bus))
        await recorder.handle(await desk.take())
        assert desk.state("m-1") is MessageState.IN_TURN
        assert desk.recorded() == []

    _at_a_desk(tmp_path, scenario)


def test_all_are_told_of_a_login_under_the_name_of_whose_stream_it_is(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.record(AgentLoggedIn(agent="mallory"))
        (fact,) = await told(desk.bus, streams.EVENTS)
        assert (fact.type, fact.subject, fact.source) == ("agent.logged_in", "lin", "broker")
        assert fact.data == {"agent": "lin"}

    _at_a_desk(tmp_path, scenario)

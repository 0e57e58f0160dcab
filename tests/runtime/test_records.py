"""The records of messages and live events: repeatable to write, safe against what a container claims, easy to page."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive_contracts.envelope import Envelope
from hive_contracts.messages import About, Message, MessageState
from hive_runtime.records import messages
from hive_runtime.records.events import MAX_DATA_BYTES, EventReader, EventWriter, entry_time
from hive_runtime.records.messages import MessageReader, MessageWriter, from_milliseconds

SENT = datetime(2026, 1, 1, tzinfo=UTC)
DELIVERED, IN_TURN = MessageState.DELIVERED, MessageState.IN_TURN
ACKED, FAILED = MessageState.ACKED, MessageState.FAILED


def message(name: str = "m-1", *, sender: str = "ada", recipient: str = "lin", trace: str = "") -> Message:
    return Message(id=name, sender=sender, recipient=recipient, body="hi", sent_at=SENT, trace_id=trace or name)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[MessageWriter]:
    with closing(MessageWriter(tmp_path / "broker.sqlite")) as writer:
        yield writer


@pytest.fixture
def reader(tmp_path: Path) -> MessageReader:
    return MessageReader(tmp_path / "broker.sqlite")


def _life(reader: MessageReader, name: str = "m-1") -> list[tuple[str, str]]:
    view = reader.get(name)
    return [(step.state.value, step.detail) for step in view.steps] if view else []


def test_a_message_goes_through_its_life(writer: MessageWriter, reader: MessageReader) -> None:
    writer.record([(message(), 10)])
    assert writer.advance("lin", ["m-1"], IN_TURN, at=20, turn_id="t1") == ["m-1"]
    assert writer.advance("lin", ["m-1"], FAILED, at=30, turn_id="t1", reason="auth") == ["m-1"]
    assert writer.advance("lin", ["m-1"], IN_TURN, at=40, turn_id="t2") == ["m-1"]
    assert writer.advance("lin", ["m-1"], ACKED, at=50, turn_id="t2") == ["m-1"]
    view = reader.get("m-1")
    assert view
    assert (view.state, view.attempts, view.sent_at) == (ACKED, 2, SENT)
    steps = [("delivered", ""), ("in_turn", "t1"), ("failed", "auth"), ("in_turn", "t2"), ("acked", "t2")]
    assert sorted(_life(reader)) == sorted([("accepted", ""), *steps])
    assert reader.unread() == {}


def test_everything_may_be_told_twice(writer: MessageWriter, reader: MessageReader) -> None:
    for _ in range(2):
        writer.record([(message(), 10)])
    first = [writer.advance("lin", ["m-1"], state, at=20, turn_id="t") for state in (IN_TURN, FAILED)]
    again = [writer.advance("lin", ["m-1"], state, at=90, turn_id="t") for state in (IN_TURN, FAILED)]
    assert (first, again) == ([["m-1"], ["m-1"]], [[], []])
    assert len(_life(reader)) == 4
    view = reader.get("m-1")
    assert view
    assert (view.attempts, view.state) == (1, FAILED)


def test_nobody_moves_anothers_message(writer: MessageWriter, reader: MessageReader) -> None:
    writer.record([(message(), 10)])
    for other in ("ada", "eve", ""):
        assert writer.advance(other, ["m-1", "m-unknown"], ACKED, at=1) == []
        assert writer.find("m-1", other) is None
    assert _life(reader) == [("accepted", ""), ("delivered", "")]
    assert writer.find("m-1", "lin")


def test_acked_is_final(writer: MessageWriter, reader: MessageReader) -> None:
    writer.record([(message(), 10)])
    writer.advance("lin", ["m-1"], ACKED, at=1)
    for state in (IN_TURN, FAILED, ACKED):
        assert writer.advance("lin", ["m-1"], state, at=2, turn_id="late") == []
    view = reader.get("m-1")
    assert view
    assert view.state is ACKED


def test_a_delivery_recorded_again_is_no_step_back(writer: MessageWriter, reader: MessageReader) -> None:
    writer.record([(message(), 1)])
    writer.advance("lin", ["m-1"], IN_TURN, at=5, turn_id="t")
    writer.record([(message(), 9)])
    view = reader.get("m-1")
    assert view
    assert view.state is IN_TURN
    assert len(view.steps) == 3


def test_what_a_message_is_about_is_kept(writer: MessageWriter, reader: MessageReader) -> None:
    about = About(kind="question.asked", id="q-1", data={"options": ["yes", "nö"]})
    writer.record([(message().model_copy(update={"about": about}), 1), (message("m-2"), 1)])
    found, other = reader.get("m-1"), reader.get("m-2")
    assert found
    assert other
    assert (found.about, other.about) == (about, None)


_STEPS = st.tuples(st.sampled_from([DELIVERED, IN_TURN, FAILED, ACKED]), st.sampled_from(["t1", "t2", "t3"]))


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(_STEPS, st.sampled_from(["lin", "eve"])), max_size=12))
def test_whatever_is_told_the_state_is_the_last_news(told: list[tuple[tuple[MessageState, str], str]]) -> None:
    """Told late, twice, out of order, or by someone else."""
    with TemporaryDirectory() as directory, closing(MessageWriter(Path(directory) / "b.sqlite")) as writer:
        writer.record([(message(), 1)])
        state, known = DELIVERED, {(DELIVERED, "")}
        for (step, turn), who in told:
            turn_id = "" if step is DELIVERED else turn
            news = who == "lin" and state is not ACKED and (step, turn_id) not in known
            assert writer.advance(who, ["m-1"], step, at=1, turn_id=turn_id) == (["m-1"] if news else [])
            if news:
                known.add((step, turn_id))
                state = step
        view = MessageReader(Path(directory) / "b.sqlite").get("m-1")
        assert view
        assert view.state is state
        assert view.attempts == sum(step is IN_TURN for step, _ in known)
        assert len(view.steps) == 1 + len(known)


_TOLD = st.tuples(
    st.sampled_from([IN_TURN, FAILED, ACKED]), st.sampled_from(["t1", "t2", "t3"]), st.sampled_from([0, 1])
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(_TOLD, st.sampled_from(["lin", "eve"])), max_size=10), st.lists(st.integers(0, 10), max_size=3)
)
def test_steps_may_come_before_their_message_and_nothing_is_lost(
    told: list[tuple[tuple[MessageState, str, int], str]], recorded_before: list[int]
) -> None:
    """The record and the live streams do not wait for each other: the message may be recorded at any time, or twice."""
    lives = []
    for places in ([0], [*recorded_before, len(told)]):
        with TemporaryDirectory() as directory, closing(MessageWriter(Path(directory) / "b.sqlite")) as writer:
            news = list[tuple[str, str]]()
            for number in range(len(told) + 1):
                for _ in range(places.count(number)):
                    news += [(step.state, step.turn_id) for step in writer.record([(message(), 1)])]
                if number < len(told):
                    (state, turn_id, tries), who = told[number]
                    told_now = writer.advance(who, ["m-1"], state, at=2 + number, turn_id=turn_id, tries={"m-1": tries})
                    news += [(state, turn_id)] * len(told_now)
            view = MessageReader(Path(directory) / "b.sqlite").get("m-1")
            assert view
            assert writer.store.connection.execute("SELECT count(*) FROM early_steps").fetchone()[0] == 0
            tries_sum = writer.store.connection.execute("SELECT tries FROM messages").fetchone()[0]
            lives.append((view, news, tries_sum))
    assert lives[0] == lives[1]


def test_steps_of_messages_that_never_come_are_bounded(writer: MessageWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may invent ids; another's steps are not forgotten for it."""
    monkeypatch.setattr(messages, "MAX_EARLY", 5)
    writer.advance("ada", ["m-1"], IN_TURN, at=1, turn_id="t")
    for number in range(10):
        writer.advance("eve", [f"m-{number}"], IN_TURN, at=1, turn_id="t")
    rows = writer.store.connection.execute("SELECT recipient, message_id FROM early_steps ORDER BY number").fetchall()
    assert [tuple(row) for row in rows] == [("ada", "m-1"), *(("eve", f"m-{number}") for number in range(5, 10))]
    assert writer.record([(message("m-1", recipient="eve"), 1)]) == []


def test_pages_go_back_without_gap_or_overlap(writer: MessageWriter, reader: MessageReader) -> None:
    names = [f"m-{number}" for number in range(7)]
    for name in names:
        writer.record([(message(name), 1)])
    pages, before = [], None
    while page := reader.recent(before=before, limit=3):
        pages.append([view.id for view in page])
        before = pages[-1][-1]
    assert pages == [["m-6", "m-5", "m-4"], ["m-3", "m-2", "m-1"], ["m-0"]]
    assert reader.recent(before="m-unknown") == []


def test_readers_find_what_belongs_together(writer: MessageWriter, reader: MessageReader) -> None:
    second = message("m-2", sender="lin", recipient="ada", trace="m-1")
    for one in (message("m-1"), second, message("m-3"), message("m-4", sender="bob", recipient="eve")):
        writer.record([(one, 1)])
    writer.advance("lin", ["m-1"], ACKED, at=1)
    assert [view.id for view in reader.recent(agent="lin")] == ["m-3", "m-2", "m-1"]
    assert [view.id for view in reader.inbox("lin")] == ["m-3", "m-1"]
    assert [view.id for view in reader.inbox("lin", undone=True)] == ["m-3"]
    talk = reader.conversation("m-1")
    assert [(view.id, len(view.steps)) for view in talk] == [("m-1", 3), ("m-2", 2)]
    assert reader.unread() == {"lin": 1, "ada": 1, "eve": 1}


def test_before_the_broker_ever_ran_there_is_nothing(reader: MessageReader, tmp_path: Path) -> None:
    assert (reader.get("m"), reader.recent(), reader.inbox("a"), reader.conversation("t")) == (None, [], [], [])
    assert reader.unread() == {}
    assert EventReader(tmp_path / "none.sqlite").page() == []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventWriter]:
    with closing(EventWriter(tmp_path / "events.sqlite")) as events:
        yield events


def live(**data: object) -> Envelope:
    return Envelope(source="ada", type="turn.text", data=data)


def test_an_event_is_recorded_once_by_entry_and_by_envelope(events: EventWriter, tmp_path: Path) -> None:
    one, two = live(turn_id="t", seq=0), live(turn_id="t", seq=1)
    events.record([("1-0", one), ("2-0", two)], position="9-0")
    events.record([("1-0", one), ("3-0", one), ("4-0", live(turn_id="t", seq=2))], position="9-0")
    page = EventReader(tmp_path / "events.sqlite").page()
    assert [(event.id, event.turn_id, event.seq) for event in page] == [
        ("1-0", "t", 0),
        ("2-0", "t", 1),
        ("4-0", "t", 2),
    ]
    assert page[0].time == from_milliseconds(1)


def test_event_pages_go_both_ways(events: EventWriter, tmp_path: Path) -> None:
    events.record([(f"{number}-0", live(seq=number)) for number in range(1, 8)], position="9-0")
    reader = EventReader(tmp_path / "events.sqlite")
    assert [event.seq for event in reader.page(limit=3)] == [5, 6, 7]
    assert [event.seq for event in reader.page(before="5-0", limit=3)] == [2, 3, 4]
    assert [event.seq for event in reader.page(after="5-0", limit=1)] == [6]
    assert reader.page(after="7-0") == []
    assert reader.page(before="1-0") == []
    assert reader.page(after="unknown") == []


def test_oversized_data_is_replaced_by_a_note(events: EventWriter, tmp_path: Path) -> None:
    events.record([("1-0", live(text="x" * MAX_DATA_BYTES)), ("2-0", live(text="ok"))], position="9-0")
    first, second = EventReader(tmp_path / "events.sqlite").page()
    assert "was not kept" in first.data["text"]
    assert second.data == {"text": "ok"}


def test_oversized_counts_bytes(events: EventWriter, tmp_path: Path) -> None:
    events.record([("1-0", live(text="€" * (MAX_DATA_BYTES // 2)))], position="9-0")
    (event,) = EventReader(tmp_path / "events.sqlite").page()
    assert "was not kept" in event.data["text"]


HOSTILE = [
    {"turn_id": 7, "seq": "x"},
    {"turn_id": "t", "seq": 2**70},
    {"turn_id": "t", "seq": True},
    {"text": "\ud800 alone"},
    {"turn_id": "\udfff", "seq": 0},
    {"number": float("inf"), "nothing": float("nan")},
    {"text": "nul \0 inside"},
    {"x": 10**4000},
]


@pytest.mark.parametrize("data", HOSTILE)
def test_no_data_stops_the_recording(events: EventWriter, tmp_path: Path, data: dict[str, object]) -> None:
    """As it comes off the stream: whatever JSON can say."""
    envelope = Envelope.decode(live().encode() | {"data": json.dumps(data)})
    events.record([("1-0", envelope), ("2-0", live(text="after"))], position="9-0")
    page = EventReader(tmp_path / "events.sqlite").page()
    assert [event.id for event in page] == ["1-0", "2-0"]


@pytest.mark.parametrize("depth", [10, 100, 300, 700, 900, 950, 970, 980, 990, 50_000])
def test_no_nesting_stops_the_recording(events: EventWriter, tmp_path: Path, depth: int) -> None:
    fields = live().encode() | {"data": '{"x":' + "[" * depth + "]" * depth + "}"}
    try:
        envelope = Envelope.decode(fields)
    except ValueError:
        return
    events.record([("1-0", envelope)], position="9-0")
    assert len(EventReader(tmp_path / "events.sqlite").page()) == 1


def test_the_time_of_an_entry_cannot_be_claimed_from_the_future() -> None:
    """An agent may choose the ids of what it appends to its own streams."""
    assert entry_time("1700000000000-3") == 1_700_000_000_000
    claimed = entry_time(f"{2**64 - 1}-{2**64 - 1}")
    assert from_milliseconds(claimed) <= datetime.now(UTC)

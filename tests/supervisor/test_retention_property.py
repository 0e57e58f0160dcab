"""Whatever lies in stores and streams: nothing undone is ever swept, the caps hold, and a dry run says what goes."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.supervisor.retention_rig import Hive, account, message, ms, put_events, put_messages
from tests.support.redis_server import RedisServer, redis_server

from hive_contracts import streams
from hive_contracts.messages import MessageState
from hive_contracts.retention import RetentionSwept
from hive_runtime.records.messages import MessageWriter

CAP = 5
GROUPS = {"inbox": ("harness",), "outbox": ("broker",), "live": ("recorder", "another"), "control": ("harness",)}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@dataclass(frozen=True)
class Letter:
    recipient: str
    state: MessageState
    age_days: float


@dataclass(frozen=True)
class Reading:
    """What a group did with a stream: it had the first `had` entries, and of those it has not acked `pending`."""

    had: int
    pending: frozenset[int]


@dataclass(frozen=True)
class Flow:
    kind: str
    ages: tuple[float, ...]
    readings: tuple[Reading | None, ...]

    @property
    def name(self) -> str:
        return f"hive:{{ada}}:{self.kind}"


AGES = st.sampled_from([0.5, 2.0, 6.9, 7.1, 29.9, 30.1, 400.0])
LETTERS = st.lists(
    st.builds(Letter, st.sampled_from(["ada", "lin", "operator"]), st.sampled_from(list(MessageState)), AGES),
    max_size=40,
)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    kind = draw(st.sampled_from(sorted(GROUPS)))
    ages = tuple(sorted(draw(st.lists(AGES, max_size=250 if kind == "live" else 30)), reverse=True))
    readings = []
    for _ in GROUPS[kind]:
        had = draw(st.integers(0, len(ages)))
        pending = draw(st.frozensets(st.integers(0, max(0, had - 1)), max_size=4)) if had else frozenset()
        readings.append(draw(st.sampled_from([Reading(had, pending)] * 5 + [None])))
    return Flow(kind, ages, tuple(readings))


def _undone(flow: Flow) -> set[int]:
    """Places of entries that somebody still needs; all of them while the reader's own group is missing."""
    if flow.readings[0] is None:
        return set(range(len(flow.ages)))
    needed: set[int] = set()
    for reading in flow.readings:
        if reading is not None:
            needed |= reading.pending | set(range(reading.had, len(flow.ages)))
    return needed


def _expected(flow: Flow) -> list[int]:
    """The places that stay: from the first undone one on, the young ones where age counts, the newest where it does."""
    number = len(flow.ages)
    first = min(_undone(flow), default=number)
    if flow.kind == "control":
        first = min([first, *(place for place, age in enumerate(flow.ages) if age < 1)])
    if flow.kind == "live":
        first = min(first, max(0, number - CAP))
    return list(range(first, number))


def _make(hive: Hive, flow: Flow) -> list[str]:
    ids = [f"{ms(age)}-{place + 1}" for place, age in enumerate(flow.ages)]
    hive.command("DEL", flow.name)
    hive.commands([("XADD", flow.name, id_, "f", "v") for id_ in ids] or [("PING",)])
    for group, reading in zip(GROUPS[flow.kind], flow.readings, strict=True):
        if reading is None:
            continue
        hive.command("XGROUP", "CREATE", flow.name, group, "0", "MKSTREAM")
        if reading.had:
            hive.read(flow.name, group, reading.had)
        acked = [id_ for place, id_ in enumerate(ids[: reading.had]) if place not in reading.pending]
        if acked:
            hive.command("XACK", flow.name, group, *acked)
    return ids


def _accounts(report: RetentionSwept) -> list[tuple[str, int, int, str]]:
    return [(item.name, item.kept, item.removed, item.error) for item in (*report.streams, *report.stores)]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flow=flows())
def test_of_a_stream_nothing_undone_goes_and_all_that_is_done_does(server: RedisServer, flow: Flow) -> None:
    hive = Hive(Path("/nonexistent"), server, {"live_entries": CAP})
    ids = _make(hive, flow)
    told = hive.sweep(dry_run=True)
    assert hive.ids(flow.name) == ids
    swept = hive.sweep()
    left = hive.ids(flow.name)
    assert {ids[place] for place in _undone(flow)} <= set(left)
    assert left == [ids[place] for place in _expected(flow)]
    assert _accounts(told) == _accounts(swept)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(letters=LETTERS, events=st.lists(st.tuples(AGES, st.integers(1, 8)), max_size=5))
def test_of_stores_nothing_undone_goes_and_the_caps_hold(
    server: RedisServer, letters: list[Letter], events: list[tuple[float, int]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        hive = Hive(Path(directory), server, {"messages_per_recipient": CAP, "event_rows": CAP})
        hive.make_stores()
        writer = MessageWriter(hive.data_dir / "broker.sqlite")
        for number, letter in enumerate(letters):
            one = message(number, letter.recipient, age_days=letter.age_days)
            put_messages(writer, [one], state=letter.state, age_days=letter.age_days)
        for part, (age, number) in enumerate(events):
            put_events(hive.data_dir / "agents/ada/events.sqlite", number, age_days=age, first=part * 100)
        before = _rows(hive.data_dir)
        told = hive.sweep(dry_run=True)
        assert _rows(hive.data_dir) == before
        swept = hive.sweep()
        writer.close()
        assert _accounts(told) == _accounts(swept)
        left = _rows(hive.data_dir)
        _check_messages(letters, left["messages"])
        assert set(left["steps"]) == set(left["messages"])
        _check_events(hive, swept, events)
        assert hive.sweep().removed == 0


def _check_messages(letters: list[Letter], left: list[str]) -> None:
    expected = []
    for number, letter in enumerate(letters):
        done = letter.state is MessageState.ACKED
        younger = [
            other
            for other in letters[number + 1 :]
            if other.recipient == letter.recipient and other.state is MessageState.ACKED and other.age_days < 30
        ]
        if not done or (letter.age_days < 30 and len(younger) < CAP):
            expected.append(f"m-{letter.recipient}-{number}")
    assert left == expected


def _check_events(hive: Hive, swept: RetentionSwept, events: list[tuple[float, int]]) -> None:
    if events:
        young = sum(number for age, number in events if age < 7)
        assert account(swept.stores, "agents/ada/events.sqlite").kept == min(CAP, young)


QUERIES = (
    ("messages", "broker.sqlite", "SELECT id FROM messages ORDER BY number"),
    ("steps", "broker.sqlite", "SELECT message_id FROM steps ORDER BY message_id, state"),
    ("events", "agents/ada/events.sqlite", "SELECT entry_id FROM events ORDER BY number"),
)


def _rows(data_dir: Path) -> dict[str, list[str]]:
    found = {}
    for table, store, query in QUERIES:
        if (data_dir / store).exists():
            with closing(sqlite3.connect(data_dir / store)) as db:
                found[table] = [row[0] for row in db.execute(query)]
    return found


def test_the_streams_of_the_hive_are_the_ones_tried_here() -> None:
    assert {f"hive:{{ada}}:{kind}" for kind in GROUPS} == {
        stream("ada") for stream in (streams.inbox, streams.outbox, streams.live, streams.control)
    }

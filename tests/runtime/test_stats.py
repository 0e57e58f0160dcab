"""Figures of turns: counted once however often told, bounded whatever a container says, added up in SQL."""

import math
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hive_contracts.agents import TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.stats import Kind, key_of
from hive_contracts.turns import TurnEnded, Usage
from hive_runtime.records.events import EventWriter
from hive_runtime.records.stats import MAX_KEYS, MAX_SERIES, StatsReader, stats_of
from hive_runtime.store import Store

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def ended(turn: str = "t-1", **facts: Any) -> TurnEnded:
    return TurnEnded(**({"turn_id": turn, "seq": 9, "outcome": TurnOutcome.OK} | facts))


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[EventWriter]:
    with closing(EventWriter(tmp_path / "ada" / "events.sqlite")) as writer:
        yield writer


@pytest.fixture
def reader(tmp_path: Path) -> StatsReader:
    return StatsReader(tmp_path / "ada" / "events.sqlite")


def _record(writer: EventWriter, turn: TurnEnded, *, minute: float = 0, times: int = 1) -> None:
    entry = f"{round((BEGIN.timestamp() + minute * 60) * 1000)}-0"
    for _ in range(times):
        writer.record([(entry, Envelope.of(turn, source="ada"))], position=entry)


def test_a_turn_is_counted_once_however_often_it_is_told(writer: EventWriter, reader: StatsReader) -> None:
    usage = Usage(input=10, output=20, cache_read=30, cache_creation=40, context=50)
    turn = ended(messages=("m-1", "m-2"), duration_ms=1500, tool_calls=3, cost_usd=0.25, usage=usage)
    _record(writer, turn, times=3)
    assert reader.totals(BEGIN) == {
        "context_tokens": 50,
        "cost_usd": 0.25,
        "duration_ms": 1500,
        "messages": 2,
        "outcome.ok": 1,
        "tokens_cache_creation": 40,
        "tokens_cache_read": 30,
        "tokens_in": 10,
        "tokens_out": 20,
        "tool_calls": 3,
        "turns": 1,
    }


def test_rows_name_agent_time_key_and_value(writer: EventWriter) -> None:
    _record(writer, ended(stats={"memory_bytes": 7}), minute=1)
    with writer.store.reading() as db:
        row = db.execute("SELECT agent, ts, key, value FROM stats WHERE key = 'memory_bytes'").fetchone()
    assert tuple(row) == ("ada", round(BEGIN.timestamp() * 1000) + 60_000, "memory_bytes", 7.0)


def test_a_series_is_what_one_would_count_by_hand(writer: EventWriter, reader: StatsReader) -> None:
    values = {0: [5, 1, 3, 2, 4], 2: [10] * 19 + [500]}
    number = 0
    for hour, found in values.items():
        for value in found:
            number += 1
            _record(writer, ended(f"t-{number}", duration_ms=value), minute=60 * hour + number)
    first, second = reader.series("duration_ms", BEGIN, BEGIN + 24 * HOUR, HOUR)
    assert (first.at, first.count, first.sum, first.avg, first.p50, first.p95, first.max) == (BEGIN, 5, 15, 3, 3, 5, 5)
    assert (second.at, second.count, second.p50, second.p95, second.max) == (BEGIN + 2 * HOUR, 20, 10, 10, 500)
    assert reader.series("duration_ms", BEGIN + HOUR, BEGIN + 2 * HOUR, HOUR) == []
    assert reader.series("nobody counts this", BEGIN, BEGIN + HOUR, HOUR) == []


def test_a_step_that_is_too_short_is_refused(reader: StatsReader) -> None:
    for step in (timedelta(), timedelta(microseconds=1), timedelta(milliseconds=1), -HOUR):
        with pytest.raises(ValueError, match="too short"):
            reader.series("turns", BEGIN, BEGIN + HOUR, step)


def test_nothing_is_found_where_nothing_is_kept(tmp_path: Path, reader: StatsReader) -> None:
    assert reader.totals(BEGIN) == {}
    path = tmp_path / "old.sqlite"
    Store(path, ("CREATE TABLE events (n INTEGER) STRICT",)).close()
    assert StatsReader(path).series("turns", BEGIN, BEGIN + HOUR, HOUR) == []


def test_a_harness_adds_keys_but_cannot_lie_about_ours_or_flood_the_store(
    writer: EventWriter, reader: StatsReader
) -> None:
    wild = {
        "turns": 999.0,
        "outcome.failed": 1.0,
        "UPPER": 1.0,
        "x" * 49: 1.0,
        "": 1.0,
        "nan": math.nan,
        "inf": math.inf,
    }
    _record(writer, ended(stats=wild | {f"key_{number}": 1.0 for number in range(1000)}))
    found = reader.totals(BEGIN)
    assert (found["turns"], "outcome.failed" in found, "nan" in found) == (1, False, False)
    assert len(found) == 11 + MAX_KEYS


@given(stats=st.dictionaries(st.text(), st.floats(), max_size=50), count=st.integers())
def test_whatever_a_container_says_gives_few_finite_figures(stats: dict[str, float], count: int) -> None:
    found = stats_of(ended(stats=stats, tool_calls=count, cost_usd=math.inf))
    assert all(math.isfinite(value) for value in found.values())
    assert len(found) <= 11 + MAX_KEYS


def test_a_key_says_by_its_name_how_to_look_at_it() -> None:
    assert [key_of(key).kind for key in ("tokens_in", "turns", "outcome.ok", "cost_usd")] == [Kind.AMOUNT] * 4
    assert [key_of(key).kind for key in ("duration_ms", "context_tokens", "memory_bytes")] == [Kind.LEVEL] * 3


def test_all_series_are_those_of_each_key(writer: EventWriter, reader: StatsReader) -> None:
    for number in range(9):
        stats = {"notes_bytes": 10.0 * number} | ({"rare": 1.0} if number == 4 else {})
        _record(writer, ended(f"t-{number}", duration_ms=number, stats=stats), minute=20 * number)
    found = reader.all_series(BEGIN, BEGIN + 3 * HOUR, HOUR)
    assert found == {key: reader.series(key, BEGIN, BEGIN + 3 * HOUR, HOUR) for key in found}
    assert [bucket.p50 for bucket in found["notes_bytes"]] == [10, 40, 70]
    assert (len(found["rare"]), len(found)) == (1, 13)


def test_an_agent_that_names_many_keys_makes_no_long_answer(writer: EventWriter, reader: StatsReader) -> None:
    for number in range(6):
        _record(writer, ended(f"t-{number}", stats={f"k{number}.{key}": 1e300 for key in range(32)}), minute=number)
        _record(writer, ended(f"u-{number}", stats={f"k{number}.{key}": 1e15 for key in range(32)}), minute=number)
    found = reader.all_series(BEGIN, BEGIN + HOUR, HOUR)
    assert len(found) == MAX_SERIES
    assert {"turns", "duration_ms", "cost_usd"} <= set(found)

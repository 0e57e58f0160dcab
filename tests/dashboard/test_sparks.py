"""The turns of a day beside an agent's name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hive_contracts.agents import AgentState, Engine, LastTurn, TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnEnded
from hive_dashboard.registry import AgentView
from hive_dashboard.render import SPARK_HEIGHT, spark
from hive_dashboard.sparks import HOURS, Sparks
from hive_runtime.records.events import EventWriter

NOW = datetime(2026, 1, 2, 12, 30, tzinfo=UTC)


def agent(turn_id: str = "") -> AgentView:
    facts: dict[str, Any] = {"name": "ada", "engine": Engine.SCRIPTED, "container_since": NOW, "created_at": NOW}
    if turn_id:
        last = LastTurn(turn_id=turn_id, started=NOW, ended=NOW, outcome=TurnOutcome.OK)
        facts["state"] = AgentState(agent="ada", since=NOW, last_turn=last)
    return AgentView(**facts)


def had_a_turn(data_dir: Path, turn_id: str, *, at: datetime) -> None:
    writer = EventWriter(data_dir / "agents" / "ada" / "events.sqlite")
    ended = TurnEnded(turn_id=turn_id, seq=1, outcome=TurnOutcome.OK, messages=(), duration_ms=1)
    entry_id = f"{round(at.timestamp() * 1000)}-0"
    writer.record([(entry_id, Envelope.of(ended, source="ada"))], position=entry_id)
    writer.close()


def test_turns_are_counted_by_the_hour_they_ended_in(tmp_path: Path) -> None:
    for number, hours in enumerate((0, 0, 3, 22.9, 30)):
        had_a_turn(tmp_path, f"t-{number}", at=NOW - timedelta(hours=hours))
    found = Sparks(tmp_path, lambda: NOW).of(agent())
    assert len(found) == HOURS
    assert {place: count for place, count in enumerate(found) if count} == {23: 2, 20: 1, 0: 1}


def test_an_agent_without_turns_has_no_chart(tmp_path: Path) -> None:
    assert Sparks(tmp_path, lambda: NOW).of(agent()) == ()


def test_they_are_read_again_after_a_turn_and_until_its_record_must_be_there(tmp_path: Path) -> None:
    now = NOW
    sparks = Sparks(tmp_path, lambda: now)
    assert sparks.of(agent("t-0")) == ()
    had_a_turn(tmp_path, "t-0", at=NOW)
    assert sparks.of(agent("t-0")) == ()  # read a moment ago
    now += timedelta(seconds=6)
    assert sum(sparks.of(agent("t-0"))) == 1
    had_a_turn(tmp_path, "t-1", at=NOW)
    assert sum(sparks.of(agent("t-0"))) == 1  # nothing says that there is more
    assert sum(sparks.of(agent("t-1"))) == 2


def test_bars_stand_at_their_hour_and_the_highest_fills_the_chart() -> None:
    assert spark((0, 4, 1)) == f"M3 {SPARK_HEIGHT}v-16h2v16zM6 {SPARK_HEIGHT}v-4h2v4z"
    assert spark(()) == ""

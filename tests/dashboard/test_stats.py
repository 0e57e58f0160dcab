"""The figures of an agent's turns over the API: what was recorded, in steps, and what may be asked for."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.dashboard.opened import Opened, opened
from tests.support.waiting import eventually

from hive_contracts.agents import LastTurn, TurnOutcome
from hive_contracts.envelope import Envelope
from hive_contracts.turns import TurnEnded, Usage
from hive_dashboard.errors import InvalidRequest
from hive_dashboard.spans import parse_span, parse_time
from hive_runtime.bus import Bus
from hive_runtime.records.events import EventWriter

OnBus = Callable[[Callable[[Bus], Awaitable[None]]], None]
PATHS = ("/api/v1/agents/ada/stats", "/agents/ada/api/stats")
NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)


async def _with_turns(hive: Opened, number: int) -> None:
    """So many turns of ada's, of 100 ms, 200 ms, …, on record, a minute ago."""
    await hive.scene.agent("ada")
    await hive.sees_agent("ada")
    entry = f"{round((datetime.now(UTC).timestamp() - 60) * 1000)}-"
    turns = [
        TurnEnded(
            turn_id=f"t-{index}",
            seq=0,
            outcome=TurnOutcome.OK,
            duration_ms=100 * (index + 1),
            usage=Usage(input=10),
            stats={"tool.bash": 2},
        )
        for index in range(number)
    ]
    with closing(EventWriter(hive.dashboard.parts.data_dir / "agents" / "ada" / "events.sqlite")) as writer:
        told = [(f"{entry}{index}", Envelope.of(turn, source="ada")) for index, turn in enumerate(turns)]
        writer.record(told, position=f"{entry}{number}")


def _total(answer: dict[str, Any], key: str) -> dict[str, Any]:
    return dict(zip(answer["columns"], answer["series"][key]["total"], strict=True))


def test_series_have_units_totals_and_points(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await _with_turns(hive, 4)
            for path in PATHS:
                found = (await hive.api.get(path, params={"since": "1h", "step": "1h"})).json()
                duration = found["series"]["duration_ms"]
                assert (duration["unit"], duration["kind"]) == ("ms", "level")
                whole = _total(found, "duration_ms")
                assert (whole["p50"], whole["p95"], whole["max"], whole["per_minute"]) == (200, 400, 400, None)
                assert sum(point[1] for point in duration["points"]) == 4
                tools = _total(found, "tool.bash")
                assert (tools["sum"], tools["per_minute"]) == (8, pytest.approx(8 / 60))
                assert (found["step_s"], found["series"]["tool.bash"]["unit"]) == (3600, "calls")
                assert {"turns", "outcome.ok", "tokens_in"} <= set(found["series"])

    on_bus(scenario)


def test_what_lies_before_is_not_counted(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await _with_turns(hive, 1)
            answer = await hive.api.get(PATHS[0], params={"since": "2d", "until": "1d"})
            assert answer.json()["series"] == {}
            assert answer.json()["since_last_turn_s"] is None

    on_bus(scenario)


def test_the_time_since_the_last_turn_comes_from_the_state(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("ada")
            ago = datetime.now(UTC) - timedelta(hours=2)
            last = LastTurn(turn_id="t-1", started=ago, ended=ago, outcome=TurnOutcome.OK)
            await hive.scene.state("ada", last_turn=last)

            async def told() -> bool:
                answer = await hive.api.get(PATHS[0])
                return answer.status_code == 200 and (answer.json()["since_last_turn_s"] or 0) >= 7200

            await eventually(told)

    on_bus(scenario)


def test_what_cannot_be_asked_for_is_refused_with_what_can(on_bus: OnBus, tmp_path: Path) -> None:
    async def scenario(bus: Bus) -> None:
        async with opened(bus, tmp_path) as hive:
            await hive.scene.agent("ada")
            await hive.sees_agent("ada")
            for wrong, said in (
                ({"since": "yesterday"}, "since is not valid: give a time as 2030-01-31T09:00:00Z"),
                ({"since": "1h", "until": "2h"}, "until must come after since"),
                ({"since": "500d"}, "at most 400 days"),
                ({"step": "0"}, "step is not valid: give a number with s, m, h or d"),
                ({"since": "24h", "step": "1s"}, "at least 173s, 500 points a key"),
                ({"since": "x" * 50}, "since is not valid"),
            ):
                for path in PATHS:
                    answer = await hive.api.get(path, params=wrong)
                    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
                    assert said in answer.json()["detail"]
            assert (await hive.api.get("/api/v1/agents/nobody/stats")).status_code == 404
            assert (await hive.browser.get(PATHS[1])).status_code == 401

    on_bus(scenario)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("30min", NOW - timedelta(minutes=30)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("7d", NOW - timedelta(days=7)),
        ("60", NOW - timedelta(minutes=1)),
        ("2030-01-31T08:00:00Z", NOW - timedelta(hours=1)),
        ("2030-01-31T08:00:00", NOW - timedelta(hours=1)),
        ("2030-01-31T10:00:00+02:00", NOW - timedelta(hours=1)),
    ],
)
def test_times_are_read_as_people_write_them(text: str, time: datetime) -> None:
    assert parse_time(text, name="since", now=NOW) == time


@pytest.mark.parametrize(
    "text", ["", "h", "-1h", "1y", "0", "0.0s", "999999999d", "1e9", "٣h", "0001-01-01T00:00+10:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_time(text, name="since", now=NOW)
    with pytest.raises(InvalidRequest):
        parse_span(text, name="step")

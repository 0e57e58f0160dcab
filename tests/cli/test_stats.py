"""`hive stats` against a real HTTP server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run
from hive_cli.commands.stats import amount
from hive_cli.sparkline import sparkline

Capture = pytest.CaptureFixture[str]
PATH = "/api/v1/agents/ada/stats"
COLUMNS = ["ts", "count", "sum", "avg", "p50", "p95", "max", "per_minute"]
FOUND: dict[str, Any] = {
    "agent": "ada",
    "since": "2026-01-02T00:00:00Z",
    "until": "2026-01-02T04:00:00Z",
    "step_s": 3600,
    "since_last_turn_s": 300,
    "columns": COLUMNS,
    "series": {
        "turns": {
            "kind": "amount",
            "unit": "turns",
            "total": [1767312000, 3, 12, 4, 4, 8, 8, 0.05],
            "points": [[1767312000, 1, 1, 1, 1, 1, 1, 0.02], [1767322800, 2, 8, 4, 4, 4, 4, 0.1]],
        },
        "duration_ms": {
            "kind": "level",
            "unit": "ms",
            "total": [1767312000, 3, 9000, 3000, 2500, 4000, 4100, None],
            "points": [[1767312000, 3, 9000, 3000, 2500, 4000, 4100, None]],
        },
    },
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


def hive(tmp_path: Path, *words: str) -> int:
    return run(["--data-dir", str(tmp_path / "data"), "stats", *words])


def test_figures_are_a_table_with_lines_over_time(
    api: FakeApi, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    api.answers["GET", PATH] = (200, FOUND)
    assert hive(tmp_path, "ada", "--since", "4h") == 0
    assert api.asked[0]["path"] == f"{PATH}?since=4h"
    out = capsys.readouterr().out
    turns, duration = (next(line for line in out.splitlines() if line.startswith(key)) for key in ("turns", "duration"))
    assert turns.split()[1:3] == ["12", "0.05"]
    assert turns.endswith("▂··█")
    assert duration.split()[1:] == ["2.5", "s", "4.0", "s", "4.1", "s", "█···"]
    assert "last turn ended 5 min ago" in out
    assert max(map(len, out.splitlines())) <= 80


def test_json_is_what_the_api_says(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    api.answers["GET", PATH] = (200, FOUND)
    assert hive(tmp_path, "ada", "--json") == 0
    assert json.loads(capsys.readouterr().out) == FOUND


def test_an_agent_without_turns_has_no_figures(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    api.answers["GET", PATH] = (200, FOUND | {"series": {}, "since_last_turn_s": None})
    assert hive(tmp_path, "ada") == 0
    assert "Nothing was counted in that time. ada has had no turn yet." in capsys.readouterr().out


def test_what_is_not_there_or_not_allowed_is_said(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    api.problem("GET", PATH, 422, "since is not valid: give a time")
    assert hive(tmp_path, "ada", "--since", "soon") != 0
    assert "since is not valid" in capsys.readouterr().err
    assert hive(tmp_path, "bob") == 3


def test_a_line_is_as_long_as_there_is_room() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, None, 4, 2], 2) == "▃█"
    assert sparkline([0, 0], 9) == "▁▁"
    assert sparkline([None], 1) == "·"
    assert sparkline([], 5) == sparkline([1], 0) == ""
    assert len(sparkline([float(number) for number in range(1000)], 37)) == 37


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(0.05, "", "0.05"), (12, "", "12"), (999, "ms", "999 ms"), (61_500, "ms", "61.5 s"), (0.0123, "USD", "$0.0123"),
     (9_999, "tokens", "9999"), (12_345, "tokens", "12.3k"), (5e6, "", "5.0M"), (3e9, "", "3.0G")],
)  # fmt: skip
def test_numbers_are_short(number: float, unit: str, text: str) -> None:
    assert amount(number, unit) == text

"""`hive retention` against a real HTTP server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

REPORT: dict[str, Any] = {
    "dry_run": True,
    "at": "2026-01-02T03:04:05Z",
    "seconds": 0.25,
    "removed": 1203,
    "bytes_freed": 2_500_000,
    "errors": 1,
    "stores": [
        {"name": "broker.sqlite", "kept": 10, "removed": 1200, "bytes_freed": 2_499_000, "error": ""},
        {"name": "supervisor.sqlite", "kept": 4, "removed": 0, "bytes_freed": 0, "error": ""},
        {"name": "agents/ada/events.sqlite", "kept": 0, "removed": 0, "bytes_freed": 0, "error": "database is locked"},
    ],
    "streams": [{"name": "hive:events", "kept": 7, "removed": 3, "bytes_freed": 1000, "error": ""}],
}
PATH = "/api/v1/retention"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


def hive(tmp_path: Path, *words: str) -> int:
    return run(["--data-dir", str(tmp_path / "data"), "retention", *words])


def test_a_dry_run_shows_what_would_go(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["POST", PATH] = (200, {"report": REPORT})
    assert hive(tmp_path, "--dry-run") == 0
    assert api.asked[0]["body"] == {"dry_run": True}
    out = capsys.readouterr().out
    assert "WOULD GO" in out
    assert "broker.sqlite             1200      10     2.5 MB" in out
    assert "database is locked" in out
    assert "supervisor.sqlite" not in out
    assert "1203 rows and entries would go, 2.5 MB; 3 stores and 1 stream looked at" in out
    assert "1 could not be swept to the end" in out


def test_without_it_the_sweep_is_made(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["POST", PATH] = (200, {"report": REPORT | {"dry_run": False}})
    assert hive(tmp_path, "--json") == 0
    assert api.asked[0]["body"] == {"dry_run": False}
    assert json.loads(capsys.readouterr().out)["report"]["removed"] == 1203


def test_the_last_sweep_is_shown(api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["GET", PATH] = (200, {"report": None})
    assert hive(tmp_path, "--last") == 0
    assert "not been swept yet" in capsys.readouterr().out
    assert hive(tmp_path, "--last", "--dry-run") == 2


def test_a_sweep_that_takes_long_is_a_time_out(api: FakeApi, tmp_path: Path) -> None:
    api.problem("POST", PATH, 504, "the sweep is not done yet and goes on")
    assert hive(tmp_path) == 5

"""`hive rebuild`, in this process, against a real HTTP server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

Hive = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


def agent(name: str, *, needs_update: str = "", doing: str = "idle") -> dict[str, Any]:
    return {"name": name, "needs_update": needs_update, "state": {"state": doing}}


def rebuilt(api: FakeApi) -> list[str]:
    return [one["path"].split("/")[-2] for one in api.asked if one["method"] == "POST"]


def test_one_agent_is_brought_up_to_date(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/agents/ada/rebuild"] = (200, agent("ada"))
    assert hive("rebuild", "ada") == 0
    assert capsys.readouterr().out == "ada is up to date.\n"
    api.problem("POST", "/api/v1/agents/ada/rebuild", 409, "ada does not start: no image")
    assert hive("rebuild", "ada") == 4
    assert "no image" in capsys.readouterr().err


def test_all_that_are_behind_are_rebuilt_those_first_that_are_in_no_turn(
    api: FakeApi, hive: Hive, capsys: Capture
) -> None:
    busy = agent("ada", needs_update="there is a newer image", doing="thinking")
    agents = [busy, agent("lin"), agent("eve", needs_update="its configuration changed")]
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": agents})
    for name in ("ada", "eve"):
        api.answers["POST", f"/api/v1/agents/{name}/rebuild"] = (200, agent(name))
    assert hive("rebuild", "--all", "--turn-wait", "0.2") == 0
    assert rebuilt(api) == ["eve", "ada"]
    said = capsys.readouterr().out
    assert "eve: its configuration changed; 1 to go" in said
    assert hive("rebuild", "--all", "--turn-wait", "0", "--json") == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)["agents"]] == ["ada", "eve"]
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": [agent("lin")]})
    assert hive("rebuild", "--all") == 0
    assert capsys.readouterr().out == "All agents were up to date.\n"


def test_it_wants_either_a_name_or_all(api: FakeApi, hive: Hive) -> None:
    assert hive("rebuild") == 2
    assert hive("rebuild", "ada", "--all") == 2

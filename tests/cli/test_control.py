"""`hive pause`, `resume` …: what a running agent is told."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


def hive(tmp_path: Path, *arguments: str) -> int:
    return run(["--data-dir", str(tmp_path / "data"), *arguments])


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("pause", "ada is paused"),
        ("resume", "ada takes up messages again"),
        ("cancel", "ada's turn is cancelled"),
        ("nap", "ada naps for 3600 s"),
        ("wake", "ada is awake"),
        ("new-session", "an empty conversation"),
    ],
)
def test_what_is_told_is_confirmed(api: FakeApi, tmp_path: Path, capsys: Capture, verb: str, said: str) -> None:
    api.answers["POST", f"/api/v1/agents/ada/{verb}"] = (200, {"name": "ada"})
    assert hive(tmp_path, verb, "ada") == 0
    assert said in capsys.readouterr().out
    assert hive(tmp_path, verb, "ada", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "ada"}


@pytest.mark.parametrize(("status", "code"), [(404, 3), (409, 4), (504, 5)])
def test_a_refusal_is_an_exit_code(api: FakeApi, tmp_path: Path, capsys: Capture, status: int, code: int) -> None:
    api.problem("POST", "/api/v1/agents/ada/pause", status, "it is as it is")
    assert hive(tmp_path, "pause", "ada") == code
    assert "it is as it is" in capsys.readouterr().err


def test_a_name_that_cannot_be_is_refused_before_anything_is_asked(api: FakeApi, tmp_path: Path) -> None:
    assert hive(tmp_path, "pause", "Not A Name") == 2
    assert api.asked == []


def test_a_nap_has_its_length(api: FakeApi, tmp_path: Path) -> None:
    api.answers["POST", "/api/v1/agents/ada/nap"] = (200, {"name": "ada"})
    assert hive(tmp_path, "nap", "ada", "90") == 0
    assert api.asked[-1]["body"] == {"seconds": 90}
    assert hive(tmp_path, "nap", "ada", "0") == 2


def test_a_message_may_be_urgent(api: FakeApi, tmp_path: Path) -> None:
    api.answers["POST", "/api/v1/messages"] = (201, {"id": "m-1", "to": "ada", "state": "accepted", "note": ""})
    assert hive(tmp_path, "send", "ada", "now", "--urgent") == 0
    assert api.asked[-1]["body"] == {"to": "ada", "body": "now", "urgent": True}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"tokens_before": 150_000, "tokens_after": 900}, "ada's conversation: 150,000 → 900 tokens."),
        ({"after": "turn"}, "will be shortened when that is over"),
    ],
)
def test_a_compaction_says_what_came_of_it(
    api: FakeApi, tmp_path: Path, capsys: Capture, result: dict[str, object], said: str
) -> None:
    api.answers["POST", "/api/v1/agents/ada/compact"] = (200, {"agent": {}, "result": result})
    assert hive(tmp_path, "compact", "ada") == 0
    assert said in capsys.readouterr().out


def test_all_are_those_that_it_concerns(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    def agent(name: str, state: str, container: str = "running") -> dict[str, object]:
        return {"name": name, "container": container, "state": {"state": state}}

    agents = [agent("ada", "paused"), agent("lin", "idle"), agent("bob", "paused", "stopped")]
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": agents})
    api.answers["POST", "/api/v1/agents/ada/resume"] = (200, {"name": "ada"})
    api.answers["POST", "/api/v1/agents/lin/pause"] = (200, {"name": "lin"})
    assert hive(tmp_path, "resume", "--all") == 0
    assert capsys.readouterr().out == "ada takes up messages again.\n"
    assert hive(tmp_path, "pause", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"agents": [{"name": "lin"}]}
    assert hive(tmp_path, "resume", "ada", "--all") == 2
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": []})
    assert hive(tmp_path, "resume", "--all") == 0
    assert "nobody to resume" in capsys.readouterr().out

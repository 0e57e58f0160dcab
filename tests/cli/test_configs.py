"""`hive config`, `rollback` and `drafts` against a real HTTP server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

SHA = "a" * 40
CONFIG = {"main": SHA, "text": 'model = "opus"\n', "files": ["seed/notes.md"], "deployed": []}
DRAFT = {"name": "lin", "author": "hm1nd", "created_at": "2026-01-02T03:04:05Z", "commit": SHA, "subject": "x\x1b[31m"}
Hive = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        server.answers["GET", "/api/v1/agents/ada/config"] = (200, CONFIG)
        server.answers["GET", "/api/v1/drafts"] = (200, {"drafts": [DRAFT | {"revives": True}]})
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


def ends(api: FakeApi, state: str, error: str = "") -> None:
    """How the approval that stands for the operator's change ends."""
    approval: dict[str, Any] = {"id": "a-1", "state": state, "error": error, "commit": SHA}
    api.answers["GET", "/api/v1/approvals/a-1"] = (200, {"approval": approval})


def test_a_config_is_shown_with_its_other_files(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    assert hive("config", "ada") == 0
    told = capsys.readouterr().out
    assert 'model = "opus"' in told
    assert "# seed/notes.md" in told
    assert hive("config", "ada", "--json") == 0
    assert json.loads(capsys.readouterr().out)["main"] == SHA


def test_a_file_is_deployed_and_its_end_awaited(api: FakeApi, hive: Hive, tmp_path: Path, capsys: Capture) -> None:
    api.answers["PUT", "/api/v1/agents/ada/config"] = (200, {"approval": "a-1", "commit": SHA})
    ends(api, "deployed")
    new = tmp_path / "agent.toml"
    new.write_text('model = "haiku"\n')
    assert hive("config", "ada", "--file", str(new)) == 0
    assert "ada runs with it" in capsys.readouterr().out
    (put,) = [one for one in api.asked if one["method"] == "PUT"]
    assert put["body"] == {"before": SHA, "text": 'model = "haiku"\n', "description": ""}
    ends(api, "failed", "it did not come up")
    assert hive("config", "ada", "--file", str(new)) == 4
    assert "it did not come up" in capsys.readouterr().err
    new.write_text(str(CONFIG["text"]))
    assert hive("config", "ada", "--file", str(new)) == 2, "nothing was changed"


def test_a_rollback_names_what_to_go_back_to(api: FakeApi, hive: Hive) -> None:
    api.answers["POST", "/api/v1/agents/ada/rollback"] = (200, {"approval": "a-1", "commit": SHA})
    ends(api, "deployed")
    assert hive("rollback", "ada") == 0
    assert hive("rollback", "ada", "a-0") == 0
    assert [one["body"] for one in api.asked if one["method"] == "POST"] == [{"approval": ""}, {"approval": "a-0"}]
    api.problem("POST", "/api/v1/agents/ada/rollback", 404, "nothing was deployed")
    assert hive("rollback", "ada") == 3


def test_drafts_are_listed_taken_over_and_discarded_only_when_said_so(
    api: FakeApi, hive: Hive, capsys: Capture
) -> None:
    assert hive("drafts") == 0
    told = capsys.readouterr().out
    assert "revives what is kept" in told
    assert "\x1b[31m" not in told
    api.answers["POST", "/api/v1/drafts/lin/take-over"] = (200, DRAFT)
    assert hive("drafts", "take-over", "lin") == 0
    assert "hive config lin --edit" in capsys.readouterr().out
    assert hive("drafts", "discard", "lin") == 2, "nobody to ask"
    assert hive("drafts", "discard") == 2
    api.answers["DELETE", "/api/v1/drafts/lin"] = (200, DRAFT)
    assert hive("drafts", "discard", "lin", "--yes") == 0

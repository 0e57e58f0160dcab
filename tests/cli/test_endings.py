"""`hive destroy`, `kept` and `revive`, and the steps shown meanwhile; in this process, against a real server."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run
from hive_cli.commands import endings
from hive_cli.errors import UsageProblem

Hive = Callable[..., int]
Capture = pytest.CaptureFixture[str]
KEPT = {"name": "ada", "size": 12_345, "more": False, "since": "2026-01-02T03:04:05Z", "signed_in": True, "unread": 2}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


def ada(container: str = "running", **more: Any) -> dict[str, Any]:
    return {"name": "ada", "desired": "running", "container": container, "detail": "", "operation": None} | more


def test_what_is_kept_is_listed_and_comes_back(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/kept"] = (200, {"kept": [KEPT]})
    assert hive("kept") == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert (row[0], row[1:3], row[-2:]) == ("ada", ["12.3", "kB"], ["2", "yes"])
    api.answers["POST", "/api/v1/agents"] = (201, ada())
    assert hive("revive", "ada") == 0
    assert "ada is back" in capsys.readouterr().out
    assert api.asked[-1]["body"] == {"name": "ada"}


def test_what_is_not_kept_does_not_come_back(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/kept"] = (200, {"kept": []})
    assert hive("revive", "ada") == 3
    assert "nothing is kept of an agent called ada" in capsys.readouterr().err
    assert [one["method"] for one in api.asked] == ["GET"]
    assert hive("kept") == 0
    assert "no agent was destroyed" in capsys.readouterr().out


def test_a_purge_names_what_goes_before_it_asks(api: FakeApi, hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no(question: str, unasked: str) -> None:
        asked.append(question)
        raise UsageProblem(unasked)

    monkeypatch.setattr(endings, "confirmed", no)
    api.answers["GET", "/api/v1/agents/ada/kept"] = (200, KEPT)
    assert hive("destroy", "ada", "--purge") == 2
    for words in (
        "/state and notes (12.3 kB)",
        "its sign-in",
        "user ids",
        "2 messages become dead letters",
        "Purge ada?",
    ):
        assert words in asked[0]
    assert [one["method"] for one in api.asked] == ["GET"], "nothing was done"


def test_a_purge_ends_when_there_is_no_such_agent_and_says_why_it_is_refused(
    api: FakeApi, hive: Hive, capsys: Capture
) -> None:
    api.answers["DELETE", "/api/v1/agents/ada"] = (200, {"name": "ada", "kept": False})
    assert hive("destroy", "ada", "--purge", "--yes") == 0
    assert "ada is gone" in capsys.readouterr().out
    api.problem("DELETE", "/api/v1/agents/ada", 409, "ada is to run; first `hive stop ada`")
    assert hive("destroy", "ada", "--purge", "--yes") == 4
    assert "`hive stop ada`" in capsys.readouterr().err


def test_each_step_is_shown_while_a_command_waits(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    seen = threading.Event()
    doing = {"verb": "start", "since": KEPT["since"], "step": "waits for its harness to report"}
    api.answers["GET", "/api/v1/agents/ada"] = (200, ada("starting", operation=doing))
    api.answers["POST", "/api/v1/agents/ada/start"] = (200, ada())
    api.tells["GET", "/api/v1/agents/ada"] = api.waits["POST", "/api/v1/agents/ada/start"] = seen
    assert hive("start", "ada") == 0
    said = capsys.readouterr()
    assert said.err == "ada: start: waits for its harness to report\n"
    assert said.out == "ada runs.\n"


def test_an_answer_that_comes_before_it_is_done_is_waited_on(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    doing = {"verb": "start", "since": KEPT["since"], "step": "starts its container"}
    api.answers["POST", "/api/v1/agents/ada/start"] = (200, ada("starting", operation=doing))
    api.answers["GET", "/api/v1/agents/ada"] = (200, ada("crashed", detail="no module named hive_harness"))
    assert hive("start", "ada") == 4
    assert "ada does not run: no module named hive_harness" in capsys.readouterr().err

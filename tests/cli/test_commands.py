"""The client commands, in this process, against a real HTTP server."""

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run
from hive_cli.app import COMMANDS, app

NOBODY = 65534
NOW = "2026-01-02T03:04:05Z"
MESSAGE = {
    "id": "m-1",
    "sender": "ada",
    "recipient": "operator",
    "body": "hello\x1b[31m there",
    "state": "acked",
    "sent_at": NOW,
    "trace_id": "t",
}
ADA = {
    "name": "ada",
    "container": "running",
    "container_since": NOW,
    "detail": "",
    "unread": 2,
    "engine": "scripted",
    "state": {"state": "thinking", "since": NOW, "until": None, "detail": "reading"},
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Callable[..., int]:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


Hive = Callable[..., int]
Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_help_shows_an_example(verb: str, capsys: Capture) -> None:
    assert run([verb, "--help"]) == 0
    assert f"$ hive {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_line_in_the_overview_says_what_the_command_says(verb: str) -> None:
    command = app.get_command(None, verb)  # type: ignore[arg-type]
    assert command is not None
    assert (command.help or "").split()[0] == COMMANDS[verb][1].split()[0]


def test_the_overview_names_every_exit_code(capsys: Capture) -> None:
    assert run(["--help"]) == 0
    assert "2 usage, 3 not found, 4 refused, 5 timed out, 6 no hive running" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["status"], ["agents"], ["spawn", "ada"], ["inbox"], ["trace", "m-1"], ["sign-in"]]
)
def test_without_a_hive_every_client_says_so_with_exit_6(arguments: list[str], hive: Hive, capsys: Capture) -> None:
    assert hive(*arguments) == 6
    assert "start one with `hive up`" in capsys.readouterr().err


def test_a_hive_that_went_away_is_exit_6(api: FakeApi, hive: Hive, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "data" / "run" / "hive.json").write_text(json.dumps({"address": "http://127.0.0.1:1"}))
    assert hive("status") == 6
    assert "does not answer" in capsys.readouterr().err


def test_a_hive_that_was_killed_is_not_one_that_does_not_answer(
    api: FakeApi, hive: Hive, tmp_path: Path, capsys: Capture
) -> None:
    left = {"address": "http://127.0.0.1:1", "pid": 1}
    (tmp_path / "data" / "run" / "hive.json").write_text(json.dumps(left))
    assert hive("status") == 6
    assert "no hive is running" in capsys.readouterr().err


def test_a_hive_of_another_user_is_not_taken_for_none(
    api: FakeApi, hive: Hive, tmp_path: Path, capsys: Capture
) -> None:
    with _rights_lost(tmp_path / "data" / "run"):
        assert hive("status") == 4
    assert "hive.json; use this hive as the user that started it" in capsys.readouterr().err


@contextmanager
def _rights_lost(folder: Path) -> Iterator[None]:
    """Root may do anything, so it becomes nobody for the time."""
    folder.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(os.getuid())
        folder.chmod(0o700)


@pytest.mark.parametrize("manager", ["systemd", "compose"])
def test_what_others_started_is_stopped_there(
    manager: str, hive: Hive, api: FakeApi, tmp_path: Path, capsys: Capture
) -> None:
    facts = {"address": "http://127.0.0.1:1", "manager": manager}
    (tmp_path / "data" / "run" / "hive.json").write_text(json.dumps(facts))
    assert hive("down") == 4
    assert f"{manager} started the services" in capsys.readouterr().err


def test_a_list_that_goes_on_says_so(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/agents/operator/inbox"] = (200, {"messages": [MESSAGE], "next": "m-1"})
    assert hive("inbox") == 0
    assert "There are older ones" in capsys.readouterr().out


@pytest.mark.slow
def test_an_image_that_is_not_there_is_said_before_it_is_asked_about(hive: Hive, capsys: Capture) -> None:
    assert hive("image", "remove", "0.1.0-none") == 3
    assert "there is no image '0.1.0-none'" in capsys.readouterr().err


def test_the_data_directory_may_stand_after_the_verb(api: FakeApi, tmp_path: Path, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": []})
    assert run(["agents", "--data-dir", str(tmp_path / "data")]) == 0
    assert "hive spawn NAME" in capsys.readouterr().out


def test_the_data_directory_may_come_from_the_environment(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("HIVE_DATA_DIR", str(tmp_path / "data"))
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": [ADA]})
    assert run(["agents", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["agents"][0]["name"] == "ada"


def test_agents_are_listed_with_state_and_unread(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": [ADA]})
    assert hive("agents") == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[0:2] == ["ada", "thinking"]
    assert "2" in line


def test_agents_that_need_an_update_are_named(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/agents"] = (200, {"agents": [ADA | {"needs_update": "hyperhive was upgraded"}]})
    assert hive("agents") == 0
    assert "needs update: hyperhive was upgraded" in capsys.readouterr().out


def test_status_names_services_redis_and_warnings(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/status"] = (200, status())
    assert hive("status") == 0
    out = capsys.readouterr().out
    for text in (
        "redis       full no room",
        "broker      away pid 7",
        "scripted: no key",
        "agents run without a sandbox",
    ):
        assert text in out


def status() -> dict[str, Any]:
    return {
        "version": "1",
        "uptime_seconds": 61,
        "redis": {"status": "full", "detail": "no room"},
        "services": [{"service": "broker", "pid": 7, "version": "1", "started_at": NOW, "alive": False}],
        "agents": {"total": 1, "running": 1, "thinking": 0},
        "info": {"engine": "scripted", "engine_reason": "no key", "runtime": "process", "isolation": "none"},
        "warnings": ["agents run without a sandbox"],
    }


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Ada", "is not an agent name"),
        ("operator", "is reserved"),
        ("all", "is reserved"),
        ("a" * 32, "not an agent name"),
    ],
)
def test_a_bad_name_is_exit_2_and_asks_nobody(
    name: str, sentence: str, api: FakeApi, hive: Hive, capsys: Capture
) -> None:
    assert hive("spawn", name) == 2
    assert sentence in capsys.readouterr().err
    assert api.asked == []


def test_spawn_sends_what_was_given(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/agents"] = (201, ADA)
    assert hive("spawn", "ada", "--engine", "scripted", "--description", "diary") == 0
    assert api.asked[0]["body"] == {"name": "ada", "engine": "scripted", "description": "diary"}
    assert "ada is made" in capsys.readouterr().out


def test_spawn_sends_the_policy_of_shell_commands(api: FakeApi, hive: Hive) -> None:
    api.answers["POST", "/api/v1/agents"] = (201, ADA)
    assert hive("spawn", "ada", "--model", "opus", "--allow", "git *", "--allow", "make *", "--policy", "deny") == 0
    assert api.asked[0]["body"]["config"] == {
        "model": "opus",
        "policy": {"bash_patterns": ["git *", "make *"], "permission_policy": "deny"},
    }


def test_a_model_is_shown_overridden_and_cleared(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    view = ADA | {
        "model": {"name": "opus", "source": "override"},
        "state": {"model": {"active": "haiku", "queued": "opus", "last_switched": None}},
    }
    api.answers["GET", "/api/v1/agents/ada"] = api.answers["POST", "/api/v1/agents/ada/model"] = (200, view)
    assert hive("model", "ada") == 0
    assert "haiku, then opus (override)" in capsys.readouterr().out
    assert hive("model", "ada", "opus") == 0
    assert "ada uses opus from its next turn on." in capsys.readouterr().out
    assert hive("model", "ada", "--clear") == 0
    assert [asked["body"] for asked in api.asked] == [None, {"model": "opus"}, {"model": None}]
    assert hive("model", "ada", "opus", "--clear") == 2


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_lifecycle_verb_posts_to_the_agent(verb: str, api: FakeApi, hive: Hive) -> None:
    api.answers["POST", f"/api/v1/agents/ada/{verb}"] = (200, ADA)
    assert hive(verb, "ada") == 0


@pytest.mark.parametrize(
    ("http_status", "code"), [(400, 2), (404, 3), (408, 5), (409, 4), (413, 4), (422, 2), (504, 5), (500, 1)]
)
def test_a_problem_becomes_its_sentence_and_exit_code(
    http_status: int, code: int, api: FakeApi, hive: Hive, capsys: Capture
) -> None:
    api.problem("POST", "/api/v1/messages", http_status, "nobody is called bob")
    assert hive("send", "bob", "hi") == code
    assert capsys.readouterr().err == "hive: nobody is called bob\n"


def test_a_send_is_accepted_under_a_key_of_its_own(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/messages"] = (
        201,
        {"id": "m-1", "to": "ada", "state": "accepted", "note": "ada is stopped"},
    )
    assert hive("send", "ada", "hi") == 0
    assert hive("send", "ada", "hi") == 0
    keys = {request["headers"]["idempotency-key"] for request in api.asked}
    assert len(keys) == 2
    assert "m-1 accepted for ada (ada is stopped)" in capsys.readouterr().out


def test_a_send_that_is_only_queued_is_exit_5(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/messages"] = (202, {"id": "m-1", "to": "ada", "state": "queued", "note": ""})
    assert hive("send", "ada", "hi") == 5
    assert "hive trace m-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "code", "sentence"), [("  ", 2, "the body is empty"), ("x" * 4097, 4, "the limit is 4096")]
)
def test_a_bad_body_is_refused_before_anybody_is_asked(
    body: str, code: int, sentence: str, api: FakeApi, hive: Hive, capsys: Capture
) -> None:
    assert hive("send", "ada", body) == code
    assert sentence in capsys.readouterr().err
    assert api.asked == []


def test_a_body_is_read_from_standard_input(api: FakeApi, hive: Hive, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answers["POST", "/api/v1/messages"] = (201, {"id": "m-1", "to": "ada", "state": "accepted", "note": ""})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"zwei\nZeilen")))
    assert hive("send", "ada", "-") == 0
    assert api.asked[0]["body"]["body"] == "zwei\nZeilen"


def test_the_inbox_cannot_steer_the_terminal(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/agents/operator/inbox"] = (200, {"messages": [MESSAGE]})
    assert hive("inbox") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "there" in out


def test_an_empty_inbox_says_what_to_do(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/agents/ada/inbox"] = (200, {"messages": []})
    assert hive("inbox", "ada") == 0
    assert "hive send ada" in capsys.readouterr().out


def test_trace_shows_the_steps_and_the_conversation(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    message = MESSAGE | {"steps": [{"state": "delivered", "at": NOW, "detail": ""}]}
    found = {"message": message, "conversation": [message, MESSAGE | {"id": "m-2", "body": "second"}]}
    api.answers["GET", "/api/v1/messages/m-1"] = (200, found)
    assert hive("trace", "m-1") == 0
    out = capsys.readouterr().out
    assert "delivered" in out
    assert "second" in out


def test_sign_in_prints_the_link_alone(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/sign-in-links"] = (201, {"url": "http://x/sign-in?token=1"})
    assert hive("sign-in") == 0
    assert capsys.readouterr().out == "http://x/sign-in?token=1\n"


def test_an_unknown_verb_is_exit_2(capsys: Capture) -> None:
    assert run(["fly"]) == 2
    assert "No such command 'fly'" in capsys.readouterr().err


def test_an_unknown_runtime_is_exit_2(hive: Hive, capsys: Capture) -> None:
    assert hive("up", "--runtime", "chroot") == 2
    assert "'chroot' is not one of 'auto', 'nixos', 'nspawn', 'docker', 'process'" in capsys.readouterr().err


def test_the_demo_refuses_a_model(hive: Hive, capsys: Capture) -> None:
    assert hive("up", "--demo", "--engine", "claude") == 2
    assert "without a model" in capsys.readouterr().err


def test_down_without_a_hive_is_exit_6(hive: Hive) -> None:
    assert hive("down") == 6


def test_dead_letters_are_listed_with_their_reasons(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    letter = {"message": MESSAGE | {"state": "dead"}, "reason": "5 tries failed"}
    api.answers["GET", "/api/v1/dead-letters"] = (200, {"dead_letters": [letter]})
    assert hive("dead-letters") == 0
    out = capsys.readouterr().out
    for text in ("m-1", "dead", "5 tries failed", "ada"):
        assert text in out
    assert hive("dead-letters", "--json") == 0
    assert json.loads(capsys.readouterr().out)["dead_letters"] == [letter]
    api.answers["GET", "/api/v1/dead-letters"] = (200, {"dead_letters": []})
    assert hive("dead-letters") == 0
    assert "There are no dead letters." in capsys.readouterr().out


def test_alerts_are_listed_and_dismissed(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    alert = {
        "key": "flood-ada", "kind": "flood", "agent": "ada", "reason": "too\x1b much", "since": NOW, "last": NOW,
        "peer": "", "trace_id": "", "count": 3, "over": True,
    }  # fmt: skip
    api.answers["GET", "/api/v1/alerts"] = (200, {"alerts": [alert]})
    assert hive("alerts") == 0
    row = capsys.readouterr().out.splitlines()[1]
    for text in ("flood-ada", "flood, over", "3", "too� much"):
        assert text in row
    assert hive("alerts", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"alerts": [alert]}
    api.answers["POST", "/api/v1/alerts/flood-ada/dismiss"] = (200, alert)
    assert hive("alerts", "dismiss", "flood-ada") == 0
    assert "flood-ada is dismissed" in capsys.readouterr().out
    assert hive("alerts", "dismiss", "flood-ada", "--json") == 0
    assert json.loads(capsys.readouterr().out) == alert
    api.problem("POST", "/api/v1/alerts/flood-ada/dismiss", 404, "that was dismissed already")
    assert hive("alerts", "dismiss", "flood-ada") == 3
    assert capsys.readouterr().err == "hive: that was dismissed already\n"
    api.answers["GET", "/api/v1/alerts"] = (200, {"alerts": []})
    assert hive("alerts") == 0
    assert "There are no alerts." in capsys.readouterr().out


def test_a_redrive_is_confirmed_or_refused(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/dead-letters/m-1/redrive"] = (200, {"id": "m-1", "state": "delivered"})
    assert hive("redrive", "m-1") == 0
    assert "m-1 is delivered again" in capsys.readouterr().out
    api.problem("POST", "/api/v1/dead-letters/m-1/redrive", 409, "m-1 is no dead letter")
    assert hive("redrive", "m-1") == 4
    assert capsys.readouterr().err == "hive: m-1 is no dead letter\n"

"""`hive token` and `hive audit`, in this process, against a real HTTP server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.cli.fake_api import FakeApi, fake_api

from hive_cli.__main__ import run

NOW = "2026-01-02T03:04:05Z"
TOKEN = {
    "id": "t-1", "name": "pho\x1bne", "created_at": NOW, "expires_at": NOW, "used_at": None, "revoked_at": None,
    "valid": True,
}  # fmt: skip
ACTION = {
    "id": "7", "time": NOW, "who": "t-1", "address": "127.0.0.1", "action": "agent.stop", "target": "ada",
    "detail": "", "facts": [{"label": "model", "value": "op\x1bus"}, {"label": "", "value": "90 days"}],
    "outcome": "refused", "reason": "it is stopped",
}  # fmt: skip
Capture = pytest.CaptureFixture[str]
Hive = Callable[..., int]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[FakeApi]:
    with fake_api(tmp_path / "data") as server:
        yield server


@pytest.fixture
def hive(tmp_path: Path) -> Hive:
    return lambda *arguments: run(["--data-dir", str(tmp_path / "data"), *arguments])


def test_a_new_tokens_secret_is_all_that_goes_to_standard_output(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["POST", "/api/v1/tokens"] = (201, {"token": TOKEN, "secret": "hive_secret"})
    assert hive("token", "create", "phone", "--days", "90") == 0
    said = capsys.readouterr()
    assert said.out == "hive_secret\n"
    assert "t-1" in said.err
    assert api.asked[0]["body"] == {"name": "phone", "days": 90}


def test_tokens_are_listed_and_revoked(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    states = [TOKEN, TOKEN | {"revoked_at": NOW, "valid": False}, TOKEN | {"valid": False}]
    api.answers["GET", "/api/v1/tokens"] = (200, {"tokens": states, "next": None})
    assert hive("token", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "pho�ne" in lines[1]
    assert "until" in lines[1]
    assert lines[2].endswith("revoked")
    assert lines[3].endswith("has run out")
    api.answers["DELETE", "/api/v1/tokens/t-1"] = (200, TOKEN)
    assert hive("token", "revoke", "t-1") == 0
    assert hive("token", "revoke", "t-2") == 3


def test_the_audit_log_is_a_table(api: FakeApi, hive: Hive, capsys: Capture) -> None:
    api.answers["GET", "/api/v1/audit"] = (200, {"actions": [ACTION], "next": None})
    assert hive("audit", "--who", "t-1") == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "refused: it is stopped" in row
    assert row.endswith("model: op�us, 90 days")
    assert "who=t-1" in api.asked[0]["path"]

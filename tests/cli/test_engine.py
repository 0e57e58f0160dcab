from pathlib import Path

import pytest

from hive_cli.paths import DataDir
from hive_cli.stack.engine import choose
from hive_contracts.errors import Refused

KEY = {"ANTHROPIC_API_KEY": "k"}


def claude(directory: Path, version: str, status: int = 0) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "claude"
    path.write_text(f"#!/bin/sh\necho '{version} (Claude Code)'\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir(tmp_path / "data")


def test_claude_with_a_key_is_chosen_and_says_why(data: DataDir, tmp_path: Path) -> None:
    binary = claude(tmp_path / "bin", "2.1.5")
    found = choose(None, data, {"PATH": str(tmp_path / "bin")} | KEY)
    assert (found.engine, found.claude) == ("claude", binary)
    assert found.reason == "claude 2.1.5 with ANTHROPIC_API_KEY"


def test_what_the_setup_installed_is_found(data: DataDir) -> None:
    binary = claude(data.claude / "node_modules" / ".bin", "2.1.5")
    assert choose(None, data, {"PATH": "/nowhere"} | KEY).claude == binary


def test_the_variable_wins_over_the_path(data: DataDir, tmp_path: Path) -> None:
    claude(tmp_path / "bin", "2.1.5")
    other = claude(tmp_path / "other", "2.2.0")
    environ = {"PATH": str(tmp_path / "bin"), "HIVE_CLAUDE": str(other)} | KEY
    assert choose(None, data, environ).claude == other


def test_a_sign_in_of_the_manager_is_enough(data: DataDir, tmp_path: Path) -> None:
    claude(tmp_path / "bin", "2.1.5")
    credentials = data.claude_credentials("hm1nd")
    credentials.parent.mkdir(parents=True)
    credentials.write_text("{}")
    assert choose(None, data, {"PATH": str(tmp_path / "bin")}).engine == "claude"


@pytest.mark.parametrize(
    ("version", "status", "environ", "sentence"),
    [
        ("1.9.9", 0, KEY, "is too old, 2.0 is needed"),
        ("2.1.5", 3, KEY, "--version failed with exit status 3"),
        ("garbage", 0, KEY, "--version failed"),
    ],
)
def test_what_is_wrong_is_the_reason_for_scripted_and_an_error_when_claude_was_asked_for(
    version: str, status: int, environ: dict[str, str], sentence: str, data: DataDir, tmp_path: Path
) -> None:
    claude(tmp_path / "bin", version, status)
    environ = {"PATH": str(tmp_path / "bin")} | environ
    chosen = choose(None, data, environ)
    assert chosen.engine == "scripted"
    assert sentence in chosen.reason
    with pytest.raises(Refused, match=sentence):
        choose("claude", data, environ)


def test_claude_that_is_not_signed_in_runs_only_when_asked_for_and_waits_for_its_logins(
    data: DataDir, tmp_path: Path
) -> None:
    claude(tmp_path / "bin", "2.1.5")
    environ = {"PATH": str(tmp_path / "bin")}
    chosen = choose(None, data, environ)
    assert (chosen.engine, "not signed in" in chosen.reason) == ("scripted", True)
    asked = choose("claude", data, environ)
    assert (asked.engine, "sign each agent in" in asked.reason) == ("claude", True)


def test_a_key_in_the_secrets_is_enough(data: DataDir, tmp_path: Path) -> None:
    claude(tmp_path / "bin", "2.1.5")
    data.secrets.mkdir(parents=True)
    (data.secrets / "model-key").write_text("sk-ant-api03-secret")
    chosen = choose(None, data, {"PATH": str(tmp_path / "bin")})
    assert chosen.engine == "claude"
    assert "sk-ant" not in chosen.reason


def test_a_variable_that_names_nothing_is_said(data: DataDir) -> None:
    with pytest.raises(Refused, match="HIVE_CLAUDE names /nope"):
        choose("claude", data, {"HIVE_CLAUDE": "/nope"})

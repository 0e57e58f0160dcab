"""Secrets that an `agent.toml` names: set on the host, given at a start, and gone with their agent."""

import io
import stat
from pathlib import Path

import pytest
from tests.cli.fake_api import fake_api

from hive_cli.__main__ import run
from hive_contracts.agent_file import InvalidAgentFile, parse
from hive_supervisor.containers import secret_values, traces_of
from hive_supervisor.errors import CannotStart


def hive(data_dir: Path, *words: str) -> int:
    return run(["--data-dir", str(data_dir), *words])


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes from the input."""
    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))


def test_an_agents_own_value_wins_over_everybodys(tmp_path: Path) -> None:
    (tmp_path / "value-TOKEN").write_text("all\n")
    (tmp_path / "value-TOKEN@ada").write_text("ada")
    assert secret_values("ada", ["TOKEN"], tmp_path) == {"TOKEN": "ada"}
    assert secret_values("lin", ["TOKEN"], tmp_path) == {"TOKEN": "all"}
    assert secret_values("lin", [], tmp_path) == {}


def test_an_agent_without_its_secret_does_not_start_and_says_which(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="hive secret set TOKEN"):
        secret_values("ada", ["TOKEN"], tmp_path)


def test_a_secret_is_set_listed_without_its_value_and_removed(
    tmp_path: Path, typed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_api(tmp_path / "data"):
        assert hive(tmp_path / "data", "secret", "set", "TOKEN", "--agent", "ada") == 0
        place = tmp_path / "data" / "secrets" / "value-TOKEN@ada"
        assert (place.read_text(), stat.S_IMODE(place.stat().st_mode)) == ("s3cret", 0o600)
        assert place in traces_of(tmp_path / "data", "ada"), "it goes with a purge of its agent"
        assert place not in traces_of(tmp_path / "data", "da")
        assert hive(tmp_path / "data", "secret", "list") == 0
        assert hive(tmp_path / "data", "secret", "remove", "TOKEN") == 3, "that of one agent is another"
        assert hive(tmp_path / "data", "secret", "remove", "TOKEN", "--agent", "ada") == 0
        assert not place.exists()
        told = capsys.readouterr().out
        assert "TOKEN" in told
        assert "s3cret" not in told


@pytest.mark.parametrize("variable", ["HIVE_REDIS_URL", "ANTHROPIC_API_KEY", "LD_PRELOAD", "../x", "two words"])
def test_no_secret_is_a_variable_of_the_hives_own(tmp_path: Path, typed: None, variable: str) -> None:
    assert hive(tmp_path, "secret", "set", variable) == 2
    with pytest.raises(InvalidAgentFile, match="secrets"):
        parse(f'secrets = ["{variable}"]')


def test_a_file_names_its_secrets_and_packages_and_says_each_variable_once() -> None:
    config = parse('secrets = ["GITHUB_TOKEN"]\npackages = ["git", "g++"]').config
    assert (config.secrets, config.packages) == (("GITHUB_TOKEN",), ("git", "g++"))
    with pytest.raises(InvalidAgentFile, match="either in environment or in secrets"):
        parse('secrets = ["TZ"]\n[environment]\nTZ = "UTC"')
    with pytest.raises(InvalidAgentFile, match="in `secrets` instead"):
        parse('[environment]\nGITHUB_TOKEN = "x"')
    with pytest.raises(InvalidAgentFile, match=r"packages\.0"):
        parse('packages = ["$(reboot)"]')

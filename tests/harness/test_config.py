import json
from pathlib import Path

import pytest

from hive_contracts.agents import Engine, Role
from hive_contracts.errors import HiveError
from hive_harness.config import config_from_environment
from hive_harness.engine import Attachment
from hive_harness.service import engine_kind, turn_limits
from hive_runtime import settings
from hive_runtime.agent_settings import HarnessSettings


def environment(state: Path, **changes: str) -> dict[str, str]:
    return {"HIVE_AGENT_NAME": "alice", "HIVE_ENGINE": "scripted", "HIVE_STATE_DIR": str(state)} | changes


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"HIVE_AGENT_NAME": "No Name"}, "HIVE_AGENT_NAME: 'No Name' is not an agent name"),
        ({"HIVE_AGENT_NAME": ""}, "HIVE_AGENT_NAME is not set"),
        ({"HIVE_ENGINE": "gpt"}, "HIVE_ENGINE is 'gpt'; it may be claude, scripted"),
        ({"HIVE_AGENT_ROLE": "boss"}, "HIVE_AGENT_ROLE is 'boss'; it may be manager, agent"),
        ({"HIVE_ENGINE": "claude"}, "HIVE_CLAUDE is not set"),
        ({"HIVE_ENGINE": "claude", "HIVE_CLAUDE": "/nowhere/claude"}, "there is no claude program at /nowhere/claude"),
        ({"HIVE_STATE_DIR": "/nowhere"}, "HIVE_STATE_DIR: /nowhere is not a directory"),
        ({"HIVE_HARNESS_TURN_LIMIT_S": "-1"}, "HIVE_HARNESS_TURN_LIMIT_S is not valid"),
        ({"HIVE_HARNESS_IDLE_CLOSE_S": "soon"}, "HIVE_HARNESS_IDLE_CLOSE_S is not valid"),
    ],
)
def test_a_broken_environment_is_one_sentence_that_names_the_variable(
    tmp_path: Path, changes: dict[str, str], told: str
) -> None:
    environ = environment(tmp_path, **changes)
    with pytest.raises(HiveError) as caught:
        found = settings.load(HarnessSettings, "harness", data_dir=None, environ=environ)
        engine_kind(config_from_environment(environ, found))
    assert told in str(caught.value)


def test_the_engine_gets_its_credentials_and_nothing_else_of_the_harnesss_environment(tmp_path: Path) -> None:
    program = tmp_path / "claude"
    program.touch()
    environ = environment(
        tmp_path,
        HIVE_ENGINE="claude",
        HIVE_AGENT_ROLE="manager",
        HIVE_CLAUDE=str(program),
        HIVE_REDIS_URL="unix:///run/redis.sock",
        ANTHROPIC_API_KEY="key",
        SECRET="other",
    )
    config = config_from_environment(environ, HarnessSettings())
    command = engine_kind(config).command(Attachment(Path("mcp.json"), Path("settings.json"), "session-1"))
    assert (config.engine, config.role, config.model) == (Engine.CLAUDE, Role.MANAGER, "haiku")
    assert command.secrets == {"CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR": "key"}
    assert "key" not in {*command.env.values(), *command.argv}
    assert command.env["HOME"] == str(tmp_path / "home")
    assert not [name for name in command.env if name.startswith("HIVE_") or name == "SECRET"]
    assert command.argv[-2:] == ["--resume", "session-1"]
    assert command.cwd == tmp_path


def test_the_scripted_engine_gets_no_credentials(tmp_path: Path) -> None:
    config = config_from_environment(environment(tmp_path, ANTHROPIC_API_KEY="key"), HarnessSettings())
    command = engine_kind(config).command(Attachment(Path("mcp.json"), Path("settings.json")))
    assert "ANTHROPIC_API_KEY" not in command.env
    assert "--resume" not in command.argv


def test_an_agents_own_variables_and_limits_hold_but_never_change_the_hives(tmp_path: Path) -> None:
    own = {"environment": {"TZ": "UTC", "PATH": "/tmp", "HOME": "/"}, "limits": {"turn_seconds": 5, "turn_tokens": 7}}
    environ = environment(tmp_path, HIVE_AGENT_CONFIG=json.dumps(own), PATH="/usr/bin")
    config = config_from_environment(environ, HarnessSettings(turn_tool_calls=3, turn_tokens=1))
    command = engine_kind(config).command(Attachment(Path("mcp.json"), Path("settings.json"), "session-1"))
    assert (command.env["TZ"], command.env["PATH"], command.env["HOME"]) == ("UTC", "/usr/bin", str(tmp_path / "home"))
    limits = turn_limits(config.settings)
    assert (limits.turn_s, limits.tool_calls, limits.tokens) == (5, 3, 7)

"""Settings and identity of a harness: all from the environment, because it sees no file of the hive."""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from hive_contracts.agents import Engine, Role
from hive_contracts.errors import InvalidName
from hive_contracts.models import DEFAULT_MODEL, AgentConfig, AgentLimits, Effort, McpServer, check_model
from hive_contracts.names import check_agent_name
from hive_contracts.permissions import ToolPolicy
from hive_harness.files import read_json
from hive_runtime.agent_settings import MODEL_KEY, VALUES_FILE, HarnessSettings
from hive_runtime.errors import SettingsError

PATH: Final = "/usr/local/bin:/usr/bin:/bin"
CREDENTIALS: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
)

Choice = TypeVar("Choice", bound=StrEnum)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class HarnessConfig:
    """Who this harness is and what it runs.

    `harness_dir` is what it keeps for itself, and `engine_uid` the engine's user; None where the two are one user.
    `credentials` go to the engine and nowhere else; they and `secrets` are taken out of all that is told.
    `mcp_variables` are what `mcp_servers` are given, and `environment` what the engine is given besides its own.
    `run_dir` is for files of this start only; it is made, and removed at the end.
    """

    agent: str
    engine: Engine
    state_dir: Path
    run_dir: Path
    harness_dir: Path | None = None
    engine_uid: int | None = None
    role: Role = Role.AGENT
    model: str = DEFAULT_MODEL
    effort: Effort | None = None
    claude: Path | None = None
    path: str = PATH
    temp_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    python: str = sys.executable
    policy: ToolPolicy = field(default_factory=ToolPolicy)
    mcp_servers: Mapping[str, McpServer] = field(default_factory=dict)
    mcp_variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    settings: HarnessSettings = field(default_factory=HarnessSettings)

    @property
    def own_dir(self) -> Path:
        """What the harness remembers over restarts, out of the engine's reach where the two are parted."""
        return self.harness_dir or self.state_dir

    @property
    def engine_environment(self) -> dict[str, str]:
        """What every engine is started with; the agent's own variables never change the hive's."""
        return {
            **self.environment,
            "PATH": self.path,
            "HOME": str(self.state_dir / "home"),
            "TMPDIR": str(self.temp_dir),
            "LANG": "C.UTF-8",
        }


def config_from_environment(environ: Mapping[str, str], settings: HarnessSettings) -> HarnessConfig:
    """Raises `SettingsError`, which names the variable."""
    claude = environ.get("HIVE_CLAUDE")
    state_dir = _state_dir(environ)
    engine = _choice(environ, "HIVE_ENGINE", Engine)
    if engine is Engine.CLAUDE and not claude:
        raise SettingsError("HIVE_CLAUDE is not set; it names the claude program that the engine `claude` runs")
    own = _checked(
        "HIVE_AGENT_CONFIG", lambda: AgentConfig.model_validate_json(environ.get("HIVE_AGENT_CONFIG") or "{}")
    )
    harness_dir = environ.get("HIVE_HARNESS_DIR")
    engine_uid = environ.get("HIVE_ENGINE_UID")
    return HarnessConfig(
        harness_dir=Path(harness_dir) if harness_dir else None,
        engine_uid=_checked("HIVE_ENGINE_UID", lambda: int(engine_uid)) if engine_uid else None,
        agent=_agent(environ),
        role=_choice({"HIVE_AGENT_ROLE": Role.AGENT} | dict(environ), "HIVE_AGENT_ROLE", Role),
        engine=engine,
        state_dir=state_dir,
        run_dir=Path(environ.get("HIVE_RUN_DIR") or state_dir / ".run") / "engine",
        model=_checked("HIVE_MODEL", lambda: check_model(environ.get("HIVE_MODEL") or DEFAULT_MODEL)),
        effort=own.effort,
        claude=Path(claude) if claude else None,
        path=environ.get("PATH") or PATH,
        policy=own.policy,
        mcp_servers=own.mcp_servers,
        mcp_variables={
            name: environ[name] for server in own.mcp_servers.values() for name in server.env if name in environ
        },
        credentials={name: environ[name] for name in CREDENTIALS if environ.get(name)},
        environment=own.environment,
        settings=_limited(settings, own.limits),
    )


def _limited(settings: HarnessSettings, limits: AgentLimits) -> HarnessSettings:
    """The hive's settings, with what the agent's own limits say of a turn."""
    own = {
        "turn_limit_s": limits.turn_seconds,
        "turn_tool_calls": limits.turn_tool_calls,
        "turn_tokens": limits.turn_tokens,
    }
    return settings.model_copy(update={name: value for name, value in own.items() if value is not None})


def take_model_key(environ: Mapping[str, str]) -> dict[str, str]:
    """What the supervisor put beside the Redis password for the engine: variable → key. It is removed with that."""
    path = Path(environ.get("HIVE_RUN_DIR") or "/nonexistent") / MODEL_KEY
    found = read_json(path)
    path.unlink(missing_ok=True)
    return {name: value for name, value in found.items() if name in CREDENTIALS and isinstance(value, str) and value}


def take_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Likewise what the agent's own configuration names: variable → value."""
    path = Path(environ.get("HIVE_RUN_DIR") or "/nonexistent") / VALUES_FILE
    found = read_json(path)
    path.unlink(missing_ok=True)
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _agent(environ: Mapping[str, str]) -> str:
    try:
        return check_agent_name(_required(environ, "HIVE_AGENT_NAME"))
    except InvalidName as error:
        raise SettingsError(f"HIVE_AGENT_NAME: {error}") from error


def _state_dir(environ: Mapping[str, str]) -> Path:
    path = Path(_required(environ, "HIVE_STATE_DIR"))
    if not path.is_dir():
        raise SettingsError(f"HIVE_STATE_DIR: {path} is not a directory")
    return path


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    if not value:
        raise SettingsError(f"{name} is not set; the supervisor sets it for the agents it starts")
    return value


def _checked(name: str, read: Callable[[], Value]) -> Value:
    try:
        return read()
    except ValueError as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise SettingsError(f"{name} is not valid: {reason}") from error


def _choice(environ: Mapping[str, str], name: str, kind: type[Choice]) -> Choice:
    value = _required(environ, name)
    try:
        return kind(value)
    except ValueError:
        raise SettingsError(f"{name} is {value!r}; it may be {', '.join(kind)}") from None

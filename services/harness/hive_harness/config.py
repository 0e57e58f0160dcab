"""Settings and identity of a harness: all from the environment, because it sees no file of the hive."""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from hive_contracts.agents import Engine, Role
from hive_contracts.errors import InvalidName
from hive_contracts.names import check_agent_name
from hive_runtime.agent_settings import HarnessSettings
from hive_runtime.errors import SettingsError

DEFAULT_MODEL: Final = "haiku"
PATH: Final = "/usr/local/bin:/usr/bin:/bin"
CREDENTIALS: Final = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
)

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class HarnessConfig:
    """Who this harness is and what it runs. `credentials` go to the engine and nowhere else.

    `run_dir` is for files of this start only; it is made, and removed at the end.
    """

    agent: str
    engine: Engine
    state_dir: Path
    run_dir: Path
    role: Role = Role.AGENT
    model: str = DEFAULT_MODEL
    claude: Path | None = None
    path: str = PATH
    temp_dir: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    python: str = sys.executable
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    settings: HarnessSettings = field(default_factory=HarnessSettings)


def config_from_environment(environ: Mapping[str, str], settings: HarnessSettings) -> HarnessConfig:
    """Raises `SettingsError`, which names the variable."""
    claude = environ.get("HIVE_CLAUDE")
    state_dir = _state_dir(environ)
    engine = _choice(environ, "HIVE_ENGINE", Engine)
    if engine is Engine.CLAUDE and not claude:
        raise SettingsError("HIVE_CLAUDE is not set; it names the claude program that the engine `claude` runs")
    return HarnessConfig(
        agent=_agent(environ),
        role=_choice({"HIVE_AGENT_ROLE": Role.AGENT} | dict(environ), "HIVE_AGENT_ROLE", Role),
        engine=engine,
        state_dir=state_dir,
        run_dir=Path(environ.get("HIVE_RUN_DIR") or state_dir / ".run") / "engine",
        model=environ.get("HIVE_MODEL") or DEFAULT_MODEL,
        claude=Path(claude) if claude else None,
        path=environ.get("PATH") or PATH,
        credentials={name: environ[name] for name in CREDENTIALS if environ.get(name)},
        settings=settings,
    )


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


def _choice(environ: Mapping[str, str], name: str, kind: type[Choice]) -> Choice:
    value = _required(environ, name)
    try:
        return kind(value)
    except ValueError:
        raise SettingsError(f"{name} is {value!r}; it may be {', '.join(kind)}") from None

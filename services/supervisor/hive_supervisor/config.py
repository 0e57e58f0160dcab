"""Settings of the supervisor: `[supervisor]` in hive.toml, `HIVE_SUPERVISOR_…` in the environment."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from hive_contracts.agents import Engine
from hive_runtime.settings import Settings


class Isolation(StrEnum):
    """How the process runtime keeps agents apart."""

    AUTO = "auto"
    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


class SupervisorSettings(Settings):
    """`engine` is for agents that do not name their own; `engine_reason` says why it was chosen."""

    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    runtime: str = Field(default="process", pattern="^process$")
    isolation: Isolation = Isolation.AUTO
    engine: Engine = Engine.SCRIPTED
    engine_reason: str = ""
    claude: Path | None = Field(default=None, description="the claude binary")
    model: str = "haiku"
    first_uid: int = Field(default=700_000, ge=1000, description="agents' user ids start here when run as root")
    stop_grace_s: float = Field(default=2.5, gt=0, description="time a harness has to end its turn")
    start_timeout_s: float = Field(default=30, gt=0, description="time a harness has to report ready")

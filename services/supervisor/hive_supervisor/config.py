"""Settings of the supervisor: `[supervisor]` in hive.toml, `HIVE_SUPERVISOR_…` in the environment."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field

from hive_contracts.agents import Engine
from hive_contracts.models import DEFAULT_MODEL, ModelName
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
    model: ModelName = DEFAULT_MODEL
    first_uid: int = Field(default=700_000, ge=1000, description="agents' user ids start here when run as root")
    stop_grace_s: float = Field(default=3.5, gt=0, description="time a harness has to end its turn")
    start_timeout_s: float = Field(default=30, gt=0, description="time a harness has to report ready")
    rotate_turn_wait_s: float = Field(default=300, ge=0, description="time turns have to end before a new password")
    quota_mb: int = Field(default=64, ge=1, description="memory that an agent's keys in Redis may take, in MiB")
    quota_outbox_per_minute: int = Field(default=1200, ge=1, description="outbox entries of one agent in a minute")
    quota_live_per_minute: int = Field(default=30_000, ge=1, description="live entries of one agent in a minute")
    quota_connections: int = Field(default=50, ge=10, description="connections of one agent to Redis")
    quota_look_s: float = Field(default=0.25, gt=0, description="seconds between looks at the server's memory")
    quota_pause_s: float = Field(default=10, gt=0, description="the first pause of who is over; doubles each time")

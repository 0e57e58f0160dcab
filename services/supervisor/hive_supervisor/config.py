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
    retention_first_s: float = Field(default=10, ge=0, description="seconds from the start to the first sweep")
    retention_every_s: float = Field(default=3600, ge=1, description="seconds between sweeps, give or take a tenth")
    retention_event_days: float = Field(default=7, ge=0, description="days that an agent's recorded events are kept")
    retention_event_rows: int = Field(default=2000, ge=0, description="recorded events kept per agent, the newest")
    retention_message_days: float = Field(default=30, ge=0, description="days that a message is kept once acked")
    retention_messages_per_recipient: int = Field(
        default=5000, ge=0, description="acked messages kept per recipient, the newest"
    )
    retention_command_days: float = Field(default=30, ge=1, description="days that a command's answer is remembered")
    retention_live_entries: int = Field(
        default=2000, ge=0, description="recorded entries kept in each live stream for replay, the newest"
    )
    retention_control_days: float = Field(default=1, ge=0, description="days that entries of control streams are kept")
    retention_fact_days: float = Field(default=7, ge=0, description="days that entries of hive:events are kept")
    retention_dead_days: float = Field(default=90, ge=0, description="days that dead letters are kept")

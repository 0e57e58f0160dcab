"""Settings of retention: `[retention]` in hive.toml, `HIVE_RETENTION_…` in the environment. All are lower limits."""

from pydantic import Field

from hive_runtime.settings import Settings


class RetentionSettings(Settings):
    """What is not done is kept whatever these say."""

    first_s: float = Field(default=10, ge=0, description="seconds from the start to the first sweep")
    every_s: float = Field(default=3600, ge=1, description="seconds between sweeps, give or take a tenth")
    event_days: float = Field(default=7, ge=0, description="days that an agent's recorded events are kept")
    event_rows: int = Field(default=2000, ge=0, description="recorded events kept per agent, the newest")
    stat_days: float = Field(default=30, ge=0, description="days that the figures of an agent's turns are kept")
    stat_rows: int = Field(default=200_000, ge=0, description="figures kept per agent, the newest")
    message_days: float = Field(default=30, ge=0, description="days that a message is kept once acked")
    messages_per_recipient: int = Field(default=5000, ge=0, description="acked messages kept per recipient, the newest")
    question_days: float = Field(default=30, ge=0, description="days that a question is kept once closed")
    reminder_days: float = Field(
        default=30, ge=0, description="days that a reminder is kept once it came or was cancelled"
    )
    diff_days: float = Field(default=90, ge=0, description="days that a diff is kept once its approval is resolved")
    command_days: float = Field(default=30, ge=1, description="days that a command's answer is remembered")
    live_entries: int = Field(default=2000, ge=0, description="recorded entries kept in each live stream, the newest")
    control_days: float = Field(default=1, ge=0, description="days that entries of control streams are kept")
    fact_days: float = Field(default=7, ge=0, description="days that entries of hive:events are kept")
    dead_days: float = Field(default=90, ge=0, description="days that dead letters are kept")

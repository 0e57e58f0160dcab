"""Settings of the broker: `[broker]` in hive.toml, `HIVE_BROKER_…` in the environment."""

from pydantic import Field

from hive_runtime.settings import Settings


class BrokerSettings(Settings):
    """`name` is how this broker, and others of the same name, are told from others in logs and `hive:brokers`."""

    name: str = Field(default="broker", pattern="^[a-z0-9-]{1,32}$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    batch: int = Field(default=100, ge=1, le=1000, description="entries taken from a stream at once")
    record_batch: int = Field(default=1000, ge=1, le=10_000, description="events recorded in one transaction, at most")
    max_attempts: int = Field(default=5, ge=1, le=1000, description="tries of a message before it is a dead letter")
    max_age_days: float = Field(default=7, gt=0, description="age at which what waits for an absent agent expires")
    sender_per_minute: int = Field(default=120, ge=1, description="messages that one agent may send in a minute")
    pair_per_minute: int = Field(default=60, ge=1, description="messages that one agent may send another in a minute")
    inbox_soft: int = Field(default=100, ge=1, description="waiting messages above which a sender is told so")
    inbox_hard: int = Field(default=1000, ge=1, description="waiting messages above which a send is refused")
    max_hops: int = Field(default=32, ge=1, description="messages in a row that may follow from one another")
    trace_messages: int = Field(default=100, ge=1, description="messages of one conversation within the window")
    trace_window_s: float = Field(default=600, gt=0, description="that window, in seconds")
    max_open_questions: int = Field(default=50, ge=1, description="questions of one agent that may be open at once")
    max_reminders: int = Field(default=100, ge=1, description="reminders of one agent that may wait at once")
    missing_look_s: float = Field(default=60, gt=0, description="seconds between looks for messages gone from an inbox")
    crash_note_s: float = Field(default=900, ge=1, description="seconds in which further crashes are only counted")

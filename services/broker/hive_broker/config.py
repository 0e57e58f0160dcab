"""Settings of the broker: `[broker]` in hive.toml, `HIVE_BROKER_…` in the environment."""

from pydantic import Field

from hive_runtime.settings import Settings


class BrokerSettings(Settings):
    """`name` is this broker's consumer name: give each of several brokers its own."""

    name: str = "broker"
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    batch: int = Field(default=100, ge=1, le=1000, description="entries taken from a stream at once")

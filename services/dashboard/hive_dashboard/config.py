"""Settings of the dashboard: `[dashboard]` in hive.toml, `HIVE_DASHBOARD_…` in the environment."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from hive_runtime.settings import Settings


def _names(value: object) -> object:
    """A variable of the environment is one string: names between commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip()) if isinstance(value, str) else value


class DashboardSettings(Settings):
    """`host` other than a loopback address opens the dashboard to the network: put TLS in front of it."""

    host: str = "127.0.0.1"
    port: int = Field(default=7000, ge=0, le=65535)
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        default=(), description="further names under which browsers may reach the dashboard"
    )
    debug: bool = Field(default=False, description="shows /settings/components, the parts that pages are made of")
    fronted: bool = Field(
        default=False,
        description="whether something in front of it decides who gets here: a proxy with TLS, a published port",
    )
    session_days: int = Field(default=30, ge=1, le=365, description="days until a browser must sign in again")
    max_streams: int = Field(default=1000, ge=1, description="open pages that are kept up to date at once")
    answer_timeout_s: float = Field(default=10.0, gt=0, description="seconds to wait for the broker's answer to a send")
    command_timeout_s: float = Field(default=30.0, gt=0, description="seconds to wait for the supervisor")

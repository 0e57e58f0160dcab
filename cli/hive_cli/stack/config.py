"""What `hive up` reads of the settings file: its own [redis], and where the dashboard will listen.

The services' sections are theirs to judge: each says what is wrong with it and ends with EX_CONFIG.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from hive_cli.paths import DataDir
from hive_runtime import settings
from hive_runtime.errors import SettingsError

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7000
MAX_PORT: Final = 65_535


class RedisSettings(settings.Settings):
    """The embedded server. `maxmemory` as Redis writes it (`512mb`); `0` sets no limit."""

    url: str | None = None
    appendfsync: Literal["everysec", "always"] = "everysec"
    maxmemory: str = Field(default="0", pattern=r"^(?i:\d+(b|k|kb|m|mb|g|gb)?)$")


class SectionOfService(settings.Settings):
    model_config = ConfigDict(frozen=True, extra="allow")


KNOWN: Final[Mapping[str, type[settings.Settings]]] = {
    "redis": RedisSettings,
    "broker": SectionOfService,
    "supervisor": SectionOfService,
    "retention": SectionOfService,
    "images": SectionOfService,
    "dashboard": SectionOfService,
    "harness": SectionOfService,
}


def read(data: DataDir, environ: Mapping[str, str]) -> RedisSettings:
    """Check the file as far as can be known here. Raises `SettingsError`."""
    settings.check_sections(data.settings, KNOWN, environ)
    return settings.load(RedisSettings, "redis", data_dir=data.root, environ=environ)


def dashboard_place(data: DataDir, environ: Mapping[str, str], *, port: int | None) -> tuple[str, int]:
    """Host and port: `--port` over variables over the file. Raises `SettingsError` for what is no port."""
    _, tables = settings.read_file(data.settings)
    section = tables.get("dashboard")
    table: dict[str, Any] = section if isinstance(section, dict) else {}
    host = environ.get("HIVE_DASHBOARD_HOST") or table.get("host")
    number = port if port is not None else environ.get("HIVE_DASHBOARD_PORT") or table.get("port", DEFAULT_PORT)
    return (host if isinstance(host, str) else DEFAULT_HOST), _number(number)


def address_of(host: str, port: int) -> str:
    """Of a dashboard that listens there, for a client on the same machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
    bare = ":" in reached and not reached.startswith("[")
    return f"http://{f'[{reached}]' if bare else reached}:{port}"


def _number(value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if not 0 <= number <= MAX_PORT:
        raise SettingsError(
            f"dashboard.port: {value!r} is no number from 0 to {MAX_PORT}; look in hive.toml and HIVE_DASHBOARD_PORT"
        )
    return number

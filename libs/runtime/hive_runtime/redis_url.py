"""Where Redis is and who we are there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hive_runtime.errors import SettingsError

SCHEMES: Final = ("unix://", "redis://", "rediss://")


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`url` holds no password: `unix:///path`, `redis://host:port/0` or `rediss://…`."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    client_name: str | None = None


def address_from_environment(environ: Mapping[str, str], *, once: bool = False) -> RedisAddress:
    """From `HIVE_REDIS_URL`, `HIVE_REDIS_USER` and `HIVE_REDIS_PASSWORD_FILE`.

    `once` removes the password file after reading, so that nothing that runs later as the same user finds it.
    """
    url = environ.get("HIVE_REDIS_URL")
    if not url:
        raise SettingsError("HIVE_REDIS_URL is not set; `hive up` sets it for the services it starts")
    if not url.startswith(SCHEMES):
        raise SettingsError(f"HIVE_REDIS_URL must start with one of {', '.join(SCHEMES)}")
    user = environ.get("HIVE_REDIS_USER")
    path = environ.get("HIVE_REDIS_PASSWORD_FILE")
    return RedisAddress(url, user, _read_secret(Path(path), once=once) if path else None, client_name=user)


def _read_secret(path: Path, *, once: bool) -> str:
    try:
        secret = path.read_text().strip()
        if once:
            path.unlink()
    except OSError as error:
        raise SettingsError(f"cannot read the Redis password file {path}: {error.strerror}") from error
    return secret

"""Where Redis is and who we are there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from hive_runtime.errors import SettingsError

SCHEMES: Final = ("unix://", "redis://", "rediss://", "sentinel://")
SENTINEL_PORT: Final = 26379


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`url` holds no password: `unix:///path`, `redis://host:port/0`, `rediss://…`, or
    `sentinel://host:port,host:port/service?db=0`, where user and password are those of the servers.
    `password_file` is read again at each connection, so that a new password in it needs no restart."""

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    client_name: str | None = None

    @property
    def sentinels(self) -> list[tuple[str, int]]:
        """Host and port of each; none for a server that is named itself."""
        parts = urlsplit(self.url)
        if parts.scheme != "sentinel":
            return []
        places = (place.strip().rpartition(":") for place in parts.netloc.split(","))
        return [(host, int(port)) if host else (port, SENTINEL_PORT) for host, _, port in places]

    @property
    def service(self) -> str:
        """What the Sentinels call the primary that they watch."""
        return urlsplit(self.url).path.strip("/")

    @property
    def database(self) -> int:
        """The number of the database in the URL, `…/3` or `?db=3`; 0 where it names none."""
        parts = urlsplit(self.url)
        named = parse_qs(parts.query).get("db", [""])[0]
        if not named and parts.scheme != "unix":
            named = parts.path.strip("/")
        return int(named) if named.isdecimal() else 0


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
    if not path:
        return RedisAddress(url, user, client_name=user)
    password = read_password(Path(path), once=once)
    if once:
        return RedisAddress(url, user, password, client_name=user)
    return RedisAddress(url, user, password_file=Path(path), client_name=user)


def read_password(path: Path, *, once: bool = False) -> str:
    """What stands in the file. Raises `SettingsError`."""
    try:
        secret = path.read_text().strip()
        if once:
            path.unlink()
    except OSError as error:
        raise SettingsError(f"cannot read the Redis password file {path}: {error.strerror}") from error
    return secret

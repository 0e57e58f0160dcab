"""Where the Redis of a hive is, for commands that go to it themselves: with the supervisor's user, or the URL's own."""

import json
import os
from collections.abc import Mapping

from hive_cli.paths import DataDir
from hive_cli.stack import config, redis_embedded, redis_external
from hive_cli.stack.lock import running_pid
from hive_cli.stack.managed import manager_of
from hive_runtime import acl
from hive_runtime.passwords import PasswordFiles
from hive_runtime.redis_url import RedisAddress


def of_running(data: DataDir) -> RedisAddress | None:
    """That of the hive that runs on `data`, by `hive up` or whatever starts its services; None when none does."""
    if not may_run(data):
        return None
    try:
        url = json.loads(data.hive_json.read_text())["redis"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _as_supervisor(data, str(url))


def may_run(data: DataDir) -> bool:
    """Whether `hive up` runs on `data`, or something else starts its services, which may be up or down."""
    return running_pid(data) is not None or bool(manager_of(data))


def known(data: DataDir, environ: Mapping[str, str]) -> RedisAddress | None:
    """That of the running hive, else the one that the settings name. Raises `SettingsError`, `UsageProblem`."""
    if running := of_running(data):
        return running
    url = config.read(data, environ).url
    return redis_external.parse(url) if url else None


def is_closed(address: RedisAddress) -> bool:
    """Whether this user may not read its password, which is for root or the services alone."""
    return address.password_file is not None and not os.access(address.password_file, os.R_OK)


def embedded(data: DataDir) -> RedisAddress:
    """The server that `hive up` starts on `data`, whether it runs or not."""
    return _as_supervisor(data, redis_embedded.url(redis_embedded.socket_path(data, os.environ)))


def _as_supervisor(data: DataDir, url: str) -> RedisAddress:
    password = PasswordFiles(data.secrets).path(acl.SUPERVISOR)
    return RedisAddress(url, acl.SUPERVISOR, password_file=password, client_name="hive-cli")

"""What a hive needs before its services start, for whoever starts them in the place of `hive up`: systemd or compose.

Every step may be repeated, and is at each start. The services then need nothing but the variables in
`run/services/<name>.env`.
"""

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from hive_cli.paths import DataDir
from hive_cli.stack import config, data_dir, engine, lock, owner, redis_embedded
from hive_cli.stack.owner import Owner
from hive_cli.stack.services import SERVICES, Surroundings, own_variables, service_users
from hive_contracts.errors import Refused
from hive_runtime import VERSION, acl
from hive_runtime.hive_id import hive_id

TOKENS: Final = ("api-token", "metrics-token")
READ_BY_SERVICES: Final = (f"redis-{acl.BROKER}", f"redis-{acl.DASHBOARD}", *TOKENS)
"""Secrets that are not the supervisor's alone."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """`manager`: what starts the services, in one word. `user`: as `owner.find`; empty: all is one user's."""

    manager: str
    user: str = ""
    engine: str | None = None
    redis: str | None = None


def prepare(data: DataDir, wishes: Wishes, environ: Mapping[str, str], report: Callable[[str], None]) -> None:
    """Raises `HiveError`."""
    data_dir.check_place(data)
    if (by := lock.holder(data)) and not by.is_hive:
        raise lock.in_use(data, by)
    if by:
        raise Refused(f"`hive up` runs with the data directory {data.root}; stop it with `hive down` first")
    settings = config.read(data, environ)
    whose = owner.find(wishes.user) if wishes.user else None
    data_dir.prepare(data)
    data_dir.check_room(data)
    identity = hive_id(data.root)
    for name in TOKENS:
        data_dir.secret(data, name)
    users = service_users(data)
    if whose:
        owner.part(data, whose)
        _let_services_read(data, whose)
    given = wishes.redis or settings.url
    url = _take_redis(given, users, identity) if given else _own_redis(data, settings, users, whose)
    report(f"redis      {url}")
    choice = engine.choose(wishes.engine, data, environ)
    report(f"engine     {choice.engine}: {choice.reason}")
    _write_variables(data, url, choice, environ)
    _tell_clients(data, wishes.manager, url, environ)
    if whose:
        owner.let_read(data.hive_json, whose)
    report(f"prepared   {data.root}")


def _let_services_read(data: DataDir, whose: Owner) -> None:
    found = [data.secrets / name for name in READ_BY_SERVICES]
    for path in (*found, data.root / "hive.id", *([data.settings] if data.settings.exists() else [])):
        owner.let_read(path, whose)


def _take_redis(given: str, users: Mapping[str, tuple[str, ...]], identity: str) -> str:
    from hive_cli.stack import redis_external  # noqa: PLC0415  redis-py costs 0.2 s; the embedded start has no need

    address = redis_external.parse(given)
    asyncio.run(redis_external.take(address, users, identity))
    return address.url


def _own_redis(
    data: DataDir, settings: config.RedisSettings, users: Mapping[str, tuple[str, ...]], whose: Owner | None
) -> str:
    """Its configuration, with the users; the server itself is started by whoever starts the services."""
    socket = data.redis_run / redis_embedded.SOCKET_NAME
    if len(os.fsencode(socket)) > redis_embedded.MAX_SOCKET_PATH_BYTES:
        raise Refused(f"the path {socket} is too long for a socket; name a shorter --data-dir")
    write = partial(redis_embedded.write_files, data, settings, users, socket, passable=whose is not None)
    owner.as_user(whose, write) if whose else write()
    return redis_embedded.url(socket)


def _write_variables(data: DataDir, url: str, choice: engine.EngineChoice, environ: Mapping[str, str]) -> None:
    host, port = config.dashboard_place(data, environ, port=None)
    extra = {
        "supervisor": engine.variables(choice),
        "dashboard": {"HIVE_DASHBOARD_HOST": host, "HIVE_DASHBOARD_PORT": str(port)},
    }
    around = Surroundings(data, url, environ, extra)
    folder = data.run / "services"
    folder.mkdir(mode=0o700, exist_ok=True)
    for service in SERVICES:
        data_dir.write_private(folder / f"{service.name}.env", _lines(own_variables(service, around)))


def _lines(variables: Mapping[str, str]) -> str:
    """As systemd reads them."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(variables.items()))


def _quoted(value: str) -> str:
    plain = " ".join(value.splitlines())
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("`", "\\`") + '"'


def _tell_clients(data: DataDir, manager: str, redis: str, environ: Mapping[str, str]) -> None:
    host, port = config.dashboard_place(data, environ, port=None)
    facts = {"address": config.address_of(host, port), "version": VERSION, "manager": manager, "redis": redis}
    data_dir.write_private(data.hive_json, json.dumps(facts))

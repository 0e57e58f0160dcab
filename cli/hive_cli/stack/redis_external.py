"""A server of the user's own (`--redis URL`): is it there, new enough, ours to use, and not another hive's?"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from redis import exceptions

from hive_cli.errors import UsageProblem
from hive_contracts import streams
from hive_contracts.errors import HiveError, Refused
from hive_runtime.backoff import persist
from hive_runtime.errors import BusDenied, BusUnavailable
from hive_runtime.redis_admin import MINIMUM_VERSION, RedisAdmin
from hive_runtime.redis_bus import connect, translate
from hive_runtime.redis_url import RedisAddress

BEFORE_HELLO: Final = ("NOPROTO", "unknown command")
"""What servers answer that are too old for the protocol's greeting."""

LOOK_S: Final = 2.0
SCHEMES: Final = ("redis", "rediss", "unix")


def parse(url: str) -> RedisAddress:
    """The address with user and password taken out of the URL. Raises `UsageProblem`."""
    parts = urlsplit(url)
    if parts.scheme == "sentinel":
        return _parse_sentinel(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    whole = parts.path if parts.scheme == "unix" else parts.hostname
    if parts.scheme not in SCHEMES or not whole or port == -1:
        raise UsageProblem(f"{_shown(url)!r} is not the URL of a Redis; write redis://[user:password@]host:port/0")
    place = parts.netloc.rpartition("@")[2]
    bare = urlunsplit(parts._replace(netloc=place))
    if parts.scheme == "unix" and not place:
        bare = f"unix://{parts.path}" + (f"?{parts.query}" if parts.query else "")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return RedisAddress(bare, user, password, client_name="hive-up")


def _parse_sentinel(url: str) -> RedisAddress:
    parts = urlsplit(url)
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = (unquote(part) for part in login.partition(":"))
    bare = urlunsplit(parts._replace(netloc=places))
    address = RedisAddress(bare, user or None, password or None, client_name="hive-up")
    try:
        known = all(host for host, _ in address.sentinels)
    except ValueError:
        known = False
    if not known or not address.service:
        raise UsageProblem(
            f"{_shown(url)!r} names no Sentinels; write sentinel://[user:password@]host:26379,host:26379/service"
        )
    return address


async def keep_users(address: RedisAddress, users: Callable[[], Mapping[str, Sequence[str]]]) -> None:
    """Make `users` at every replica that joins, until cancelled: users are not copied, and nobody else is let in."""
    async with aclosing(RedisAdmin(address)) as admin:
        known = await persist(admin.replicas)
        while True:
            await asyncio.sleep(LOOK_S)
            with suppress(HiveError):
                if (found := await admin.replicas()) - known:
                    for name, rules in users().items():
                        await admin.set_user(name, rules)
                    await admin.save_users()
                known = found


async def take(address: RedisAddress, users: Mapping[str, Sequence[str]], hive_id: str) -> str:
    """Check the server, claim it for `hive_id` and make `users` there; returns its name. Raises `Refused`."""
    admin, redis = RedisAdmin(address), connect(address)
    try:
        name = await _check(admin, address)
        await _claim(redis, address, hive_id)
        await _make_users(admin, address, users)
    finally:
        await admin.aclose()
        await redis.aclose()
    return name


async def _check(admin: RedisAdmin, address: RedisAddress) -> str:
    try:
        facts = await admin.facts()
    except BusDenied as error:
        raise _denied(address, error) from error
    except BusUnavailable as error:
        if any(sign in str(error) for sign in BEFORE_HELLO):
            raise _too_old(address, "the server") from error
        raise _unreachable(address, error) from error
    if facts.version < MINIMUM_VERSION:
        raise _too_old(address, facts.name)
    return facts.name


def _too_old(address: RedisAddress, name: str) -> Refused:
    return Refused(f"{name} at {address.url} is too old; hyperhive needs Redis 7.0 or Valkey 8 or newer")


def _denied(address: RedisAddress, error: Exception) -> Refused:
    if "NOPERM" in str(error) or "no permissions" in str(error):
        return _not_allowed(address, error)
    who = f"user {address.username}" if address.username else "the default user"
    return Refused(
        f"Redis at {address.url} refuses the password of {who}; write it into the URL: redis://user:password@host:port"
    )


def _not_allowed(address: RedisAddress, error: Exception) -> Refused:
    return Refused(
        f"this user may not do at {address.url} what a hive needs ({_brief(error)}); give it +@all ~* &*, as the hive "
        "makes one user for each service and agent"
    )


def _unreachable(address: RedisAddress, error: Exception) -> Refused:
    return Refused(
        f"no Redis answers at {address.url} ({_brief(error)}); start it, correct the URL, or leave --redis out to use "
        "the embedded server"
    )


async def _claim(redis: Any, address: RedisAddress, hive_id: str) -> None:
    """One server carries one hive: streams of two would mix."""
    try:
        await redis.set(streams.OWNER, hive_id, nx=True)
        owner = await redis.get(streams.OWNER)
    except exceptions.NoPermissionError as error:
        raise _not_allowed(address, error) from error
    except (exceptions.RedisError, OSError, TimeoutError) as error:
        raise Refused(f"Redis at {address.url} cannot be used: {_brief(translate(error))}") from error
    if owner != hive_id:
        raise Refused(
            f"Redis at {address.url} carries another hive ({owner}); use a server of its own, or, if that hive is "
            f"gone for good, delete the key {streams.OWNER} there"
        )


async def _make_users(admin: RedisAdmin, address: RedisAddress, users: Mapping[str, Sequence[str]]) -> None:
    try:
        for name, rules in users.items():
            await admin.set_user(name, rules)
        await admin.save_users()
    except BusDenied as error:
        raise _not_allowed(address, error) from error
    except HiveError as error:
        raise _unreachable(address, error) from error


def _brief(error: Exception) -> str:
    return str(error).removeprefix("Redis does not answer: ").removeprefix("Redis refused: ").rstrip(".")


def _shown(url: str) -> str:
    """Without what may be a password."""
    head, _, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if head else url

"""Redis' users: that each agent and service has its own, with exactly its rights, and that nobody else has one.

They are compared with what the supervisor makes; it makes them again at each start, and whenever the server lost them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from hive_cli.doctor.redis import closed
from hive_cli.doctor.site import Site
from hive_cli.stack import redis_place
from hive_runtime import acl
from hive_runtime.checkup import EVERYTHING, Finding, State
from hive_runtime.passwords import PasswordFiles
from hive_runtime.redis_admin import PROBE_USER, Account, RedisAdmin
from hive_runtime.redis_url import RedisAddress
from hive_runtime.store import read_only

WHAT: Final = "Redis' user"
FIX: Final = "hive doctor users --fix"
PURGED: Final = "purged"


@dataclass(frozen=True, slots=True)
class Fault:
    """`text`: as a predicate. `fix`: what to do; empty when `hive doctor --fix` does it. `gone`: to be deleted."""

    user: str
    text: str
    fix: str = ""
    gone: bool = False
    state: State = State.WRONG


def look(site: Site) -> Iterator[Finding]:
    address, names = redis_place.known(site.data, site.environ), _names(site)
    if address is None or names is None:
        text = "Redis does not run" if address is None else "no hive has made any yet"
        yield Finding(EVERYTHING, WHAT, State.OK, f"nothing to look at: {text}")
        return
    if redis_place.is_closed(address):
        yield closed(site, WHAT)
        return
    faults = asyncio.run(_look(site, address, names))
    for fault in faults:
        text, fix = f"{fault.user} {fault.text}", fault.fix or FIX
        yield Finding(EVERYTHING, WHAT, fault.state, text, fix, mendable=not fault.fix)
    if not faults:
        yield Finding(
            EVERYTHING, WHAT, State.OK, f"{len(names)} as they should be, and none of an agent that is not there"
        )


def mend(site: Site) -> Iterator[str]:
    address, names = redis_place.known(site.data, site.environ), _names(site)
    if address and names is not None and not redis_place.is_closed(address):
        yield from asyncio.run(_mend(site, address, names))


def _names(site: Site) -> list[str] | None:
    """Whose there should be; None when there is no hive yet."""
    agents = _agents(site)
    if agents is None:
        return None
    return [*acl.SERVICE_RULES, *(acl.agent_user(name) for name, desired in agents.items() if desired != PURGED)]


def _agents(site: Site) -> dict[str, str] | None:
    """Name → what is wanted. One that is being purged is left to that."""
    with read_only(site.data.root / "supervisor.sqlite") as db:
        rows = db.execute("SELECT name, desired FROM agents ORDER BY number").fetchall() if db else None
    return None if rows is None else {row["name"]: row["desired"] for row in rows}


async def _faults(site: Site, admin: RedisAdmin, names: list[str]) -> list[Fault]:
    return [*await _of_ours(site, admin, names), *await _of_others(site, admin)]


async def _look(site: Site, address: RedisAddress, names: list[str]) -> list[Fault]:
    async with aclosing(RedisAdmin(address)) as admin:
        return await _faults(site, admin, names)


async def _mend(site: Site, address: RedisAddress, names: list[str]) -> list[str]:
    async with aclosing(RedisAdmin(address)) as admin:
        faults = [fault for fault in await _faults(site, admin, names) if not fault.fix]
        done = [await _mended(site, admin, fault) for fault in faults]
        await admin.save_users()
    return done


async def _mended(site: Site, admin: RedisAdmin, fault: Fault) -> str:
    user = fault.user
    if fault.gone:
        await admin.delete_user(user)
        return f"{user} is deleted"
    passwords = PasswordFiles(site.data.secrets).valid(user)
    await admin.set_user(user, acl.rules_of(user, *passwords, database=admin.database))
    return f"{user} is made anew"


async def _of_ours(site: Site, admin: RedisAdmin, names: list[str]) -> list[Fault]:
    found = [await _fault_of(site, admin, name) for name in names]
    return [*(fault for fault in found if fault), *await _missing_at_replicas(admin, names)]


async def _missing_at_replicas(admin: RedisAdmin, names: list[str]) -> list[Fault]:
    """Users are not copied to them; whoever lacks one there cannot log in once that replica is the primary."""
    found = []
    for place, users in (await admin.users_of_replicas()).items():
        text = f"is not there at the replica {place}: after a failover it could not log in"
        found += [Fault(name, text) for name in names if name not in users]
    return found


async def _fault_of(site: Site, admin: RedisAdmin, user: str) -> Fault | None:
    files = PasswordFiles(site.data.secrets)
    if not files.has(user):
        return Fault(user, "has no password on this machine", "start the hive anew: its supervisor makes one")
    account = await admin.account(user)
    if account is None:
        return Fault(user, "is not there, so it cannot reach Redis")
    if account.no_password:
        return Fault(user, "needs no password: anybody can pass for it")
    if not await _has_rights(admin, user, account):
        return Fault(user, "has other rights than it needs")
    known = {acl.password_hash(password) for password in files.valid(user)}
    if account.passwords != known and not files.is_replaced(user):
        return Fault(user, "accepts other passwords than the hive gave it")
    return None if account.enabled else _off(user)


def _off(user: str) -> Fault | None:
    if user in acl.SERVICE_RULES:
        return Fault(user, "is switched off")
    fix = "it is let in again by itself when its pause is over; if it is not, start the hive anew"
    return Fault(user, "is switched off, as the supervisor does with who writes too much", fix, state=State.NOTE)


async def _of_others(site: Site, admin: RedisAdmin) -> list[Fault]:
    """Users first, then who is to have one: who is made meanwhile is known before it has a user."""
    users = await admin.users()
    known = {"default", *acl.SERVICE_RULES, *(acl.agent_user(name) for name in _agents(site) or ())}
    found = [await _foreign(admin, user) for user in users if user not in known]
    return [fault for fault in found if fault]


async def _foreign(admin: RedisAdmin, user: str) -> Fault | None:
    """Only what a hive made is deleted: the name alone does not tell."""
    account = await admin.account(user)
    if account is None:
        return None
    if user.startswith(f"{PROBE_USER}-") and not account.enabled:
        return Fault(user, "was left by a doctor that was killed; nobody can use it", gone=True, state=State.NOTE)
    if user.startswith(acl.agent_user("")) and await _has_rights(admin, user, account):
        return Fault(user, "is of an agent that is not there, and can still get in", gone=True)
    if account.enabled and account.no_password:
        return Fault(user, "needs no password", f"ACL SETUSER {user} resetpass, and give it a password or delete it")
    return None


async def _has_rights(admin: RedisAdmin, user: str, account: Account) -> bool:
    return account.rights == await admin.rights(acl.rules_of(user, database=admin.database))

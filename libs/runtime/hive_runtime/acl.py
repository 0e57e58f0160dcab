"""Redis ACL users: one for each principal, with no more than it needs.

An agent may read and acknowledge its own inbox and control stream, append to its own outbox and live stream, and keep
its own state hash; nothing else. So the sender of a message is the stream that it came from.
Rules are in Redis 7.0's words (selectors, `%R~`, first-argument rules).
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from hive_contracts import streams

BROKER: Final = "hive-broker"
DASHBOARD: Final = "hive-dashboard"
SUPERVISOR: Final = "hive-supervisor"

# redis-py also sends CLIENT SETINFO, which Redis 7.0 does not know; it does not mind the refusal.
_CONNECT: Final = ("+ping", "+hello", "+auth", "+client|setname")
_BASE: Final = ("reset", "on", "resetchannels", "-@all", *_CONNECT)


def _database(number: int) -> tuple[str, ...]:
    """Rules for keys hold in every database, so a user that may choose one could write where nobody looks."""
    return (f"+select|{number}",) if number else ()


def agent_user(agent: str) -> str:
    return f"agent-{agent}"


def password_hash(password: str) -> str:
    """As a server keeps it."""
    return hashlib.sha256(password.encode()).hexdigest()


def password_rule(*passwords: str) -> str:
    """Passwords as their hashes, so that they never show in a command or a file of the server."""
    return " ".join(f"#{password_hash(password)}" for password in passwords)


def agent_rules(agent: str, *passwords: str, database: int = 0, suspended: bool = False) -> tuple[str, ...]:
    """`passwords`: any of them lets it in. `database`: the one that the hive is in.

    `suspended`: it cannot log in; connections it has are to be ended.
    """
    inbox, state = streams.inbox(agent), streams.state(agent)
    return (
        *_BASE,
        *_database(database),
        password_rule(*passwords),
        f"(+xreadgroup +xclaim +xlen ~{inbox})",
        f"(+xreadgroup +xack ~{streams.control(agent)})",
        f"(+xadd %W~{streams.outbox(agent)})",
        f"(+xadd %W~{streams.live(agent)})",
        f"(+xread %R~{streams.keys(agent)})",
        f"(+xadd %W~{streams.screen(agent)})",
        f"(+hset ~{state})",
        f"(+fcall|hive_ack +xack +xdel +hget ~{inbox} ~{state})",
        *(("off",) if suspended else ()),
    )


def broker_rules(*passwords: str) -> tuple[str, ...]:
    return (
        *_BASE,
        "+select",
        password_rule(*passwords),
        "~hive:*",
        "+@stream +@hash +@string +@read +fcall +function|load +del +time -@dangerous +info",
    )


def dashboard_rules(*passwords: str) -> tuple[str, ...]:
    operator = streams.outbox("operator").rpartition(":")[0]
    return (
        *_BASE,
        "+select",
        password_rule(*passwords),
        "(+@read -@dangerous +info %R~hive:*)",
        f"(+@stream +fcall|hive_ack +hset +hget ~{operator}:*)",
        "(+xadd %W~hive:commands:* %W~hive:events)",
        "(+xadd %W~hive:{*}:control)",
        "(+xadd %W~hive:{*}:keys)",
        "(+xtrim ~hive:{*}:keys ~hive:{*}:screen)",
        f"(+hset %W~{streams.SERVICES})",
    )


def supervisor_rules(*passwords: str) -> tuple[str, ...]:
    """It may do everything: it makes all others."""
    return ("reset", "on", "~*", "&*", "+@all", password_rule(*passwords))


SERVICE_RULES: Final[Mapping[str, Callable[..., tuple[str, ...]]]] = {
    BROKER: broker_rules,
    DASHBOARD: dashboard_rules,
    SUPERVISOR: supervisor_rules,
}
"""The services' users, and the function that gives the rules of each."""


def rules_of(user: str, *passwords: str, database: int = 0, suspended: bool = False) -> tuple[str, ...]:
    """Of a service's user or an agent's; the named arguments are for agents'."""
    if user in SERVICE_RULES:
        return SERVICE_RULES[user](*passwords)
    return agent_rules(user.removeprefix(agent_user("")), *passwords, database=database, suspended=suspended)

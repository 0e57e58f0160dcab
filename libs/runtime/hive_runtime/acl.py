"""Redis ACL users: one for each principal, with no more than it needs.

An agent may read and acknowledge its own inbox and control stream, append to its own outbox and live stream, and keep
its own state hash; nothing else. So the sender of a message is the stream that it came from.
Rules are in Redis 7.0's words (selectors, `%R~`, first-argument rules).
"""

import hashlib
from typing import Final

from hive_contracts import streams

BROKER: Final = "hive-broker"
DASHBOARD: Final = "hive-dashboard"
SUPERVISOR: Final = "hive-supervisor"

# redis-py also sends CLIENT SETINFO, which Redis 7.0 does not know; it does not mind the refusal.
_CONNECT: Final = ("+ping", "+hello", "+auth", "+client|setname", "+select")
_BASE: Final = ("reset", "on", "resetchannels", "-@all", *_CONNECT)


def agent_user(agent: str) -> str:
    return f"agent-{agent}"


def password_rule(password: str) -> str:
    """A password as its hash, so that it never shows in a command or a file of the server."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def agent_rules(agent: str, password: str) -> tuple[str, ...]:
    inbox, state = streams.inbox(agent), streams.state(agent)
    return (
        *_BASE,
        password_rule(password),
        f"(+xreadgroup +xclaim +xlen ~{inbox})",
        f"(+xreadgroup +xack ~{streams.control(agent)})",
        f"(+xadd %W~{streams.outbox(agent)})",
        f"(+xadd %W~{streams.live(agent)})",
        f"(+hset ~{state})",
        f"(+fcall|hive_ack +xack +xdel +hget ~{inbox} ~{state})",
    )


def broker_rules(password: str) -> tuple[str, ...]:
    return (
        *_BASE,
        password_rule(password),
        "~hive:*",
        "+@stream +@hash +@string +@read +fcall +function|load +del -@dangerous +info",
    )


def dashboard_rules(password: str) -> tuple[str, ...]:
    operator = streams.outbox("operator").rpartition(":")[0]
    return (
        *_BASE,
        password_rule(password),
        "(+@read -@dangerous +info %R~hive:*)",
        f"(+@stream +fcall|hive_ack +hset +hget ~{operator}:*)",
        "(+xadd %W~hive:commands:* %W~hive:events)",
        "(+xadd %W~hive:{*}:control)",
        f"(+hset %W~{streams.SERVICES})",
    )

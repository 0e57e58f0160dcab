"""The keys of an agent's figures: one table, which the harness counts by, the API gives units from and `docs/stats.md`
prints. Keys are open: one that is not here is kept too, and is read by its name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hive_contracts.names import MANAGER, OPERATOR, SYSTEM

MAX_KEY: Final = 48
MAX_TOOLS: Final = 15
"""Tools that one turn counts by name; calls of others count as `tool.other`."""

_LEVELS: Final = re.compile(r".*_(ms|s|bytes|percent)|context_.*|inbox_.*")
_UNITS: Final = (("_ms", "ms"), ("_s", "s"), ("_bytes", "bytes"), ("_usd", "USD"), ("_percent", "%"))


class Kind(StrEnum):
    """`AMOUNT` adds up: tokens, money, turns; look at `sum`. `LEVEL` does not: look at `avg`, `p50`, `p95`, `max`."""

    AMOUNT = "amount"
    LEVEL = "level"


class Peer(StrEnum):
    """Whom a message comes from or goes to."""

    PEER = "peer"
    OPERATOR = "operator"
    MANAGER = "manager"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Key:
    """`means` is a sentence for people."""

    kind: Kind
    unit: str
    means: str = ""


def _amount(unit: str, means: str) -> Key:
    return Key(Kind.AMOUNT, unit, means)


def _level(unit: str, means: str) -> Key:
    return Key(Kind.LEVEL, unit, means)


KEYS: Final[Mapping[str, Key]] = MappingProxyType(
    {
        "turns": _amount("turns", "Turns that ended, those of the harness's own among them."),
        "outcome.<name>": _amount("turns", "Turns that ended so."),
        "exit.<status>": _amount("turns", "Turns in which the engine ended by itself with this exit status or signal."),
        "compact_retries": _amount("turns", "Turns that tried again what had not fitted, in a shortened conversation."),
        "messages": _amount("messages", "Messages that turns took up."),
        "received.<kind>": _amount("messages", "The same, by who sent them: `peer`, `operator`, `manager`, `system`."),
        "sent.<kind>": _amount("messages", "Messages that the hive took from turns, by recipient; a broadcast is one."),
        "tool_calls": _amount("calls", "Tool calls."),
        "tool.<name>": _amount("calls", f"The same, by tool; a turn names {MAX_TOOLS} and calls the rest `other`."),
        "duration_ms": _level("ms", "How long a turn took."),
        "context_tokens": _level("tokens", "The prompt of a turn's last request."),
        "inbox_depth": _level("messages", "What waited at a turn's end, without what the turn had taken up."),
        "inbox_depth_max": _level("messages", "The most that was in the inbox since the turn before."),
        "notes_bytes": _level("bytes", "The agent's notes."),
        "tokens_in": _amount("tokens", "Tokens that went in and were in no cache."),
        "tokens_out": _amount("tokens", "Tokens that came out."),
        "tokens_cache_read": _amount("tokens", "Tokens read from the provider's cache."),
        "tokens_cache_creation": _amount("tokens", "Tokens written into it."),
        "cost_usd": _amount("USD", "What turns cost, as the engine reports it."),
        "hive.approvals": _level("approvals", "Reserved: changes that wait for the operator's approval, hive-wide."),
    }
)
"""`<…>` stands for a part that is not fixed."""


def key_of(name: str) -> Key:
    """What is known of a key; of one that nobody foresaw, what its name tells."""
    if found := KEYS.get(name) or _FAMILIES.get(name.partition(".")[0]):
        return found
    unit = next((unit for end, unit in _UNITS if name.endswith(end)), "")
    return Key(Kind.LEVEL if _LEVELS.fullmatch(name) else Kind.AMOUNT, unit)


def peer_of(name: str) -> Peer:
    return _PEERS.get(name, Peer.PEER)


def tool_key(tool: str) -> str:
    """`tool.bash`, `tool.hyperhive.send`: in the letters that a key may have."""
    plain = tool.removeprefix("mcp__").replace("__", ".").lower()
    return f"tool.{re.sub(r'[^a-z0-9_.]', '_', plain)}"[:MAX_KEY]


_PEERS: Final = {OPERATOR: Peer.OPERATOR, MANAGER: Peer.MANAGER, SYSTEM: Peer.SYSTEM}
_FAMILIES: Final = {name.partition(".")[0]: key for name, key in KEYS.items() if name.endswith(">")}

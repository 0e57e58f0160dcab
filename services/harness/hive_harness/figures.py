"""What a turn counts beside its outcome, tokens and cost: under the keys of `hive_contracts.stats`."""

import signal
from collections import Counter
from collections.abc import Mapping

from hive_contracts.stats import MAX_TOOLS, peer_of, tool_key
from hive_harness.notes import Notes
from hive_harness.status import StatusKeeper


class Counts:
    """Of one turn. The number of its keys is bounded, whatever the engine calls its tools."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._tools: set[str] = set()

    def received(self, sender: str) -> None:
        self._counts[f"received.{peer_of(sender)}"] += 1

    def sent(self, recipient: str) -> None:
        self._counts[f"sent.{peer_of(recipient)}"] += 1

    def tool(self, name: str) -> None:
        key = tool_key(name)
        if len(self._tools) < MAX_TOOLS:
            self._tools.add(key)
        self._counts[key if key in self._tools else "tool.other"] += 1

    def exited(self, status: int) -> None:
        """`status` as a process's: negative for the signal that ended it."""
        self._counts[f"exit.{status if status >= 0 else _signal_name(-status)}"] += 1

    def compact_retry(self) -> None:
        self._counts["compact_retries"] += 1

    def stats(self) -> dict[str, float]:
        return dict(self._counts)


class Levels:
    """How things stand at a turn's end."""

    def __init__(self, status: StatusKeeper, notes: Notes) -> None:
        self._status = status
        self._notes = notes

    def __call__(self, own: int) -> Mapping[str, float]:
        """`own`: how many messages the turn took up, which are in the inbox until they are acknowledged."""
        return {
            "inbox_depth": max(0, self._status.state.unread - own),
            "inbox_depth_max": self._status.take_most_unread(),
            "notes_bytes": self._notes.size(),
        }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name.lower()
    except ValueError:
        return f"signal_{number}"

"""The operator's inbox as threads: what belongs to one conversation stands together, what was written back too."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from hive_contracts.messages import MessageState, MessageView
from hive_contracts.names import OPERATOR

NEWEST_SHOWN = 1
"""Letters of a thread that stand open when all were read; the ones before are folded."""

_DONE = frozenset({MessageState.ACKED, MessageState.DEAD, MessageState.EXPIRED})


@dataclass(frozen=True, slots=True)
class Thread:
    """`letters`: oldest first, to and from the operator."""

    trace_id: str
    letters: tuple[MessageView, ...]

    @property
    def last(self) -> MessageView:
        return self.letters[-1]

    @property
    def at(self) -> datetime:
        return self.last.sent_at

    @property
    def received(self) -> MessageView:
        """The newest that somebody wrote to the operator: what a reply answers."""
        return next((one for one in reversed(self.letters) if one.recipient == OPERATOR), self.last)

    @property
    def people(self) -> tuple[str, ...]:
        """Who wrote, in the order in which they joined, without the operator."""
        return tuple(dict.fromkeys(one.sender for one in self.letters if one.sender != OPERATOR))

    @property
    def unread(self) -> tuple[MessageView, ...]:
        return tuple(one for one in self.letters if is_unread(one))

    @property
    def shown(self) -> int:
        """From which letter on they stand open: the first unread one, or the newest."""
        newest = max(0, len(self.letters) - NEWEST_SHOWN)
        return next((place for place, one in enumerate(self.letters) if is_unread(one)), newest)


def is_unread(letter: MessageView) -> bool:
    return letter.recipient == OPERATOR and letter.state not in _DONE


def threads_of(letters: Iterable[MessageView]) -> tuple[Thread, ...]:
    """Newest first, from messages oldest first. A conversation in which nobody wrote to the operator is none."""
    found: dict[str, list[MessageView]] = {}
    for letter in letters:
        found.setdefault(letter.trace_id, []).append(letter)
    threads = [
        Thread(trace, tuple(them)) for trace, them in found.items() if any(o.recipient == OPERATOR for o in them)
    ]
    return tuple(sorted(threads, key=lambda thread: thread.at, reverse=True))

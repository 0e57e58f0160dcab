"""What is to be sent, known before anything is: trees of messages, each with a token of its own, from one seed.

The operator sends the root of each tree. Its body is the token and one directive for each message that its recipient is
to send in turn, which may hold directives again. So every message that must exist afterwards is known, and no other.
"""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hive_contracts.names import OPERATOR

MAX_TREE: Final = 6
MAX_DEPTH: Final = 3
TO_OPERATOR: Final = 0.12
SLEEPS: Final = 0.3
MAX_SLEEP_S: Final = 0.2
"""Some turns take a while, so that a kill falls between two of their sends."""

_TOKEN: Final = re.compile(r"chaos-(\d+)\b")


@dataclass(frozen=True, slots=True)
class Planned:
    """A message that is to exist once. `parent` is the one whose turn sends it; None for the operator's."""

    number: int
    sender: str
    recipient: str
    parent: int | None = None
    depth: int = 1
    sleep_s: float = 0.0

    @property
    def token(self) -> str:
        return f"chaos-{self.number}"


class Plan:
    """`messages[n]` has number n; parents come before children, and siblings in the order in which they are sent."""

    def __init__(self, messages: Sequence[Planned]) -> None:
        self.messages = tuple(messages)
        self.roots = tuple(one for one in messages if one.parent is None)
        self._children: dict[int, list[Planned]] = {}
        for one in messages:
            if one.parent is not None:
                self._children.setdefault(one.parent, []).append(one)

    def children(self, number: int) -> Sequence[Planned]:
        return self._children.get(number, ())

    def below(self, number: int) -> set[int]:
        """The numbers of everything that follows from a message."""
        found: set[int] = set()
        for child in self.children(number):
            found |= {child.number} | self.below(child.number)
        return found

    def body(self, number: int) -> str:
        """The token, then the directives."""
        one = self.messages[number]
        lines = [one.token]
        if one.sleep_s:
            lines.append(f"!sleep {one.sleep_s:.3f}")
        lines += [self._directive(child) for child in self.children(number)]
        if one.sender == OPERATOR and len(lines) == 1:
            lines.append("!say done")  # or the scripted engine would echo it to the operator
        return "\n".join(lines)

    def _directive(self, child: Planned) -> str:
        body = self.body(child.number)
        if "\n" not in body:
            return f"!send {child.recipient} {body}"
        return "!call send " + json.dumps({"to": child.recipient, "body": body})


def make(seed: int, agents: Sequence[str], count: int) -> Plan:
    """`count` messages among at least two agents and the operator."""
    rng = random.Random(seed)
    messages: list[Planned] = []
    while len(messages) < count:
        _grow(messages, rng, agents, size=min(rng.randint(1, MAX_TREE), count - len(messages)))
    return Plan(messages)


def number_of(body: str) -> int | None:
    """Which planned message a body belongs to; None for a body that no plan made."""
    found = _TOKEN.match(body)
    return int(found[1]) if found else None


def _grow(messages: list[Planned], rng: random.Random, agents: Sequence[str], *, size: int) -> None:
    """One more tree, breadth first."""
    tree = [Planned(len(messages), OPERATOR, rng.choice(agents), sleep_s=_sleep(rng))]
    while len(tree) < size:
        parent = rng.choice([one for one in tree if one.recipient != OPERATOR and one.depth < MAX_DEPTH])
        others = [name for name in agents if name != parent.recipient]
        recipient = OPERATOR if rng.random() < TO_OPERATOR else rng.choice(others)
        tree.append(
            Planned(
                len(messages) + len(tree),
                parent.recipient,
                recipient,
                parent=parent.number,
                depth=parent.depth + 1,
                sleep_s=0.0 if recipient == OPERATOR else _sleep(rng),
            )
        )
    messages += tree


def _sleep(rng: random.Random) -> float:
    return round(rng.uniform(0.01, MAX_SLEEP_S), 3) if rng.random() < SLEEPS else 0.0

"""Which line takes the place of which, and which words differ between the two."""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple

MAX_WORDS: Final = 80
"""Of a line; comparing takes their square."""

ALIKE: Final = 0.4
"""Lines that have less than this in common are two lines, not one that changed."""

MAX_RUN: Final = 20

LOOK_AHEAD: Final = 4
"""How many added lines are looked at for a removed one."""

_WORD: Final = re.compile(r"\w+|\s+|.")


class Range(NamedTuple):
    start: int
    end: int


def paired(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Places of lines that take each other's, in order; a line that is alike to none has none.

    Long runs are not looked at: they were rewritten, not changed.
    """
    if max(len(old), len(new)) > MAX_RUN:
        return
    start = 0
    for place, line in enumerate(old):
        ahead = range(start, min(start + LOOK_AHEAD, len(new)))
        best = max(ahead, key=lambda at: _alike(line, new[at]), default=None)
        if best is not None and _alike(line, new[best]) >= ALIKE:
            yield place, best
            start = best + 1


def changed_words(before: str, after: str) -> tuple[list[Range], list[Range]]:
    """What is gone from `before` and what is new in `after`; nothing where the lines are too long."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if max(len(old), len(new)) > MAX_WORDS:
        return [], []
    opcodes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changes = [change[1:] for change in opcodes if change[0] != "equal"]
    return (
        [range_ for first, last, _, _ in changes if (range_ := _range(old, first, last))],
        [range_ for _, _, first, last in changes if (range_ := _range(new, first, last))],
    )


def _alike(one: str, other: str) -> float:
    """From 0 to 1, by their words."""
    old, new = _WORD.findall(one), _WORD.findall(other)
    if max(len(old), len(new)) > MAX_WORDS:
        return 0.0
    return SequenceMatcher(None, old, new, autojunk=False).ratio()


def _range(words: list[str], first: int, last: int) -> Range | None:
    start = sum(map(len, words[:first]))
    end = start + sum(map(len, words[first:last]))
    return Range(start, end) if end > start else None

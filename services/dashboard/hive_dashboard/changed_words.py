"""Which words differ between a line and the one that takes its place."""

import re
from difflib import SequenceMatcher
from typing import Final, NamedTuple

MAX_WORDS: Final = 150
"""Of a line; comparing takes their square."""

ALIKE: Final = 0.4
"""Lines that have less than this in common are two lines, not one that changed."""

_WORD: Final = re.compile(r"\w+|\s+|.")


class Range(NamedTuple):
    start: int
    end: int


def changed_words(before: str, after: str) -> tuple[list[Range], list[Range]]:
    """What is gone from `before` and what is new in `after`; nothing where the lines have too little in common."""
    old, new = _WORD.findall(before), _WORD.findall(after)
    if max(len(old), len(new)) > MAX_WORDS:
        return [], []
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < ALIKE:
        return [], []
    changes = [change[1:] for change in matcher.get_opcodes() if change[0] != "equal"]
    return (
        [range_ for first, last, _, _ in changes if (range_ := _range(old, first, last))],
        [range_ for _, _, first, last in changes if (range_ := _range(new, first, last))],
    )


def _range(words: list[str], first: int, last: int) -> Range | None:
    start = sum(map(len, words[:first]))
    end = start + sum(map(len, words[first:last]))
    return Range(start, end) if end > start else None

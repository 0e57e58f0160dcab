"""Which versions of hyperhive work together while a hive is upgraded piece by piece.

Streams and events only grow within a major version, and each reader skips what it does not know. So two parts may be
one minor version apart (`0.4` and `0.5`), whichever is the older; patches do not count. Over that nobody tried it.
"""

import re
from enum import StrEnum
from typing import Final

_FORM: Final = re.compile(r"(\d+)\.(\d+)(?:\.|$|[^\d.])")


class Skew(StrEnum):
    NONE = "none"
    TOLERATED = "tolerated"
    REFUSED = "refused"


def skew(one: str, other: str) -> Skew:
    """How far apart they are. A version that cannot be read, or is not told, is taken for one that works."""
    first, second = _FORM.match(one), _FORM.match(other)
    if one == other or first is None or second is None:
        return Skew.NONE if one == other else Skew.TOLERATED
    if first[1] != second[1] or abs(int(first[2]) - int(second[2])) > 1:
        return Skew.REFUSED
    return Skew.TOLERATED

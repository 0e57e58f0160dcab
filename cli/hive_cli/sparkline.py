"""Numbers over time in one line of text."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

BARS: Final = "▁▂▃▄▅▆▇█"
GAP: Final = "·"


def sparkline(values: Sequence[float | None], width: int) -> str:
    """At most `width` characters, oldest first; several values share one by their largest. None is a gap."""
    if not values or width < 1:
        return ""
    length = min(width, len(values))
    edges = [len(values) * number // length for number in range(length + 1)]
    shared = [_largest(values[begin:end]) for begin, end in pairwise(edges)]
    top = max((value for value in shared if value is not None), default=0.0)
    return "".join(_bar(value, top) for value in shared)


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _bar(value: float | None, top: float) -> str:
    if value is None:
        return GAP
    share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
    return BARS[round(share * (len(BARS) - 1))]

"""Figures as short words for people."""

from typing import Final

LEAST_USD: Final = 0.0001
"""The smallest amount that is said as it is."""


def relative(seconds: float) -> str:
    """`app.js` says it in the same words."""
    for limit, size_s, unit in ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h")):
        if seconds < limit:
            return f"{max(0, int(seconds // size_s))} {unit}"
    return f"{int(seconds // 86_400)} d"


def duration(milliseconds: int) -> str:
    seconds = max(0, milliseconds) / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes // 1440} d"


def money(usd: float) -> str:
    if 0 < usd < LEAST_USD:
        return f"<${LEAST_USD}"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${usd:.4f}"


def dollars(usd: float) -> str:
    """For a glance: cents are exact enough."""
    return f"${usd:.2f}" if usd == 0 or usd >= 0.01 else "<$0.01"


def count(number: int) -> str:
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def number(value: float) -> str:
    """With as many decimals as say something."""
    return count(round(value)) if value >= 10 else f"{value:.3g}"


def plain(value: float) -> str:
    """A round number, for an axis."""
    if value < 1000:
        return f"{value:.3g}"
    return f"{value / 1000:.3g}k" if value < 1_000_000 else f"{value / 1_000_000:.3g}M"


def plain_time(milliseconds: float) -> str:
    """A round time, for an axis."""
    for limit, length, unit in ((60_000, 1000, "s"), (3_600_000, 60_000, "min"), (86_400_000, 3_600_000, "h")):
        if milliseconds < limit:
            return f"{milliseconds / length:.3g} {unit}"
    return f"{milliseconds / 86_400_000:.3g} d"


def size(octets: float) -> str:
    for unit in ("B", "kB", "MB"):
        if octets < 1000:
            return f"{octets:.3g} {unit}"
        octets /= 1000
    return f"{octets:.3g} GB"

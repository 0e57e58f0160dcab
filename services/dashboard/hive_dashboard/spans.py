"""Times and spans as a query names them: `24h`, `90s`, `2030-01-31T09:00:00Z`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from hive_dashboard.errors import InvalidRequest

MAX_SPAN: Final = timedelta(days=400)

_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(s|min|m|h|d)?", re.ASCII)
_SECONDS: Final = {None: 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


def parse_span(text: str, *, name: str) -> timedelta:
    """More than nothing and at most `MAX_SPAN`. Raises `InvalidRequest`, which names the parameter."""
    found = _SPAN.fullmatch(text)
    if found:
        seconds = float(found[1]) * _SECONDS[found[2]]
        if 0 < seconds <= MAX_SPAN.total_seconds():
            return timedelta(seconds=seconds)
    raise InvalidRequest(
        f"{name} is not valid: give a number with s, m, h or d, as 30m or 24h, of at most {MAX_SPAN.days} days"
    )


def parse_time(text: str, *, name: str, now: datetime) -> datetime:
    """A time, or how long ago one was. Raises `InvalidRequest`, which names the parameter."""
    if _SPAN.fullmatch(text):
        return now - parse_span(text, name=name)
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{name} is not valid: give a time as 2030-01-31T09:00:00Z, or how long ago, as 30m, 24h or 7d"
        ) from error

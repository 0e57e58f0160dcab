"""The last lines of a log file, and where its earlier part is once it was cut."""

from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 16_384
"""As much is read from its end at most, for one line may be as long as it likes."""


def earlier(path: Path) -> Path:
    """What was in a log before it was cut."""
    return path.with_name(f"{path.name}.1")


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Empty when there is no such file. Where it was just cut, with what was before."""
    found = _last(path, lines)
    if len(found) < lines:
        found = (*_last(earlier(path), lines - len(found)), *found)
    return found


def _last(path: Path, lines: int) -> tuple[str, ...]:
    try:
        with path.open("rb") as log_file:
            log_file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = log_file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])

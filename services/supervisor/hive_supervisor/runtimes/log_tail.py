"""The last lines of a log file."""

from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 16_384
"""As much is read from its end at most, for one line may be as long as it likes."""


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """Empty when there is no such file."""
    try:
        with path.open("rb") as log_file:
            log_file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            text = log_file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])

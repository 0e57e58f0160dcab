"""The log files of the child processes: appended to, moved aside at a start when they have grown."""

import json
from collections import deque
from pathlib import Path
from typing import IO, Final

ROTATE_ABOVE_BYTES: Final = 10 * 1024 * 1024
MAX_REASON: Final = 300


def open_log(path: Path) -> IO[bytes]:
    """For appending. A file above the limit becomes `<name>.1` first, which replaces an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > ROTATE_ABOVE_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def last_reason(path: Path) -> str:
    """What the last line says went wrong: `reason` of a structured line, else the line."""
    try:
        with path.open(errors="replace") as file:
            lines = deque((line.strip() for line in file if line.strip()), maxlen=1)
    except OSError:
        return ""
    return reason_of(lines[0]) if lines else ""


def reason_of(line: str) -> str:
    """`reason` of a structured line, else the line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line[-MAX_REASON:]
    if not isinstance(entry, dict):
        return line[-MAX_REASON:]
    text = str(entry.get("reason") or entry.get("event") or line)
    if entry.get("exception"):
        text = f"{text}: {str(entry['exception']).strip().splitlines()[-1]}"
    return text[-MAX_REASON:]

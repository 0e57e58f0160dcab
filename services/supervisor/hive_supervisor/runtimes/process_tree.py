"""What a process and everything below it take, from /proc."""

import os
from pathlib import Path
from typing import Final

from hive_supervisor.runtimes.base import Usage

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME, _RSS = 11, 14, 21
"""Places in /proc/PID/stat, counted from the state. The times after `_UTIME` are those of the children waited for."""


def usage(root: int) -> Usage:
    """Of everything below `root`; memory is counted once for each process that shares it."""
    found = [fields for pid in _below(root) if (fields := _stat(pid))]
    return Usage(
        memory_bytes=sum(int(fields[_RSS]) for fields in found) * _PAGE,
        cpu_s=sum(int(ticks) for fields in found for ticks in fields[_UTIME : _CSTIME + 1]) / _TICKS,
        pids=len(found),
    )


def first_child(pid: int) -> int | None:
    return next(iter(_children(pid)), None)


def _below(root: int) -> list[int]:
    found: list[int] = []
    waiting = _children(root)
    while waiting:
        found.append(waiting.pop())
        waiting += _children(found[-1])
    return found


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in _text(task).split()]


def _stat(pid: int) -> list[str]:
    return _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

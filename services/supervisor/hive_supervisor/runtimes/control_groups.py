"""Limits of memory, processors and processes by control groups, which root may make: version 2, or 1 where that rules.

A group is made anew for each start, so what it counted is of that run. Where none can be made, only what the `process`
runtime has besides holds: open files, and processes where an agent has users of its own.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from hive_supervisor.runtimes.base import Limits

ROOT: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000
PROCESSES: Final = "cgroup.procs"

Settings = Callable[[Limits], dict[str, str]]


@cache
def why_not() -> str:
    """Why no limits can be set by groups here; empty when they can."""
    if os.geteuid() != 0:
        return "control groups need root"
    probe = f"hyperhive-probe-{os.getpid()}"
    try:
        return "" if make(probe, Limits()) else "the kernel shows no memory controller"
    except OSError as error:
        return f"control groups cannot be made: {error.strerror}"
    finally:
        remove(probe)


def make(name: str, limits: Limits) -> bool:
    """An empty group with these limits, in place of any earlier one. False where there is no memory controller."""
    remove(name)
    folders = _folders(name)
    for folder, settings in folders.items():
        folder.mkdir(exist_ok=True)
        for key, value in settings(limits).items():
            (folder / key).write_text(value)
    return bool(folders)


def enter(name: str, pid: int) -> None:
    """All that `pid` starts from now on is in the group."""
    for folder in _folders(name):
        (folder / PROCESSES).write_text(str(pid))


def ran_out_of_memory(name: str) -> bool:
    """Whether the kernel ended something in the group for its memory; not without a name."""
    if not name:
        return False
    for file in ("memory.events", "memory.oom_control"):
        for folder in _folders(name):
            with contextlib.suppress(OSError):
                counts = dict(line.split() for line in (folder / file).read_text().splitlines())
                return counts.get("oom_kill", "0") != "0"
    return False


def remove(name: str) -> bool:
    """Nothing to do when there is none. False: it stays, for it is still busy; the next start makes use of it."""
    for folder in _folders(name):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return not any(folder.exists() for folder in _folders(name))


def _folders(name: str) -> Mapping[Path, Settings]:
    """The group's folders, each with what is to be written there; none where there is no memory controller."""
    if "memory" in _text(ROOT / "cgroup.subtree_control").split():
        return {ROOT / name: _version_2}
    if not (ROOT / "memory" / PROCESSES).exists():
        return {}
    found = {"memory": _memory, "pids": _pids, "cpu": _cpu}
    return {ROOT / key / name: settings for key, settings in found.items() if (ROOT / key / PROCESSES).exists()}


def _version_2(limits: Limits) -> dict[str, str]:
    return {
        "memory.max": str(limits.memory_bytes),
        "pids.max": str(limits.pids),
        "cpu.max": f"{_quota(limits)} {PERIOD_US}",
    }


def _memory(limits: Limits) -> dict[str, str]:
    return {"memory.limit_in_bytes": str(limits.memory_bytes)}


def _pids(limits: Limits) -> dict[str, str]:
    return {"pids.max": str(limits.pids)}


def _cpu(limits: Limits) -> dict[str, str]:
    return {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(_quota(limits))}


def _quota(limits: Limits) -> int:
    return max(1000, int(limits.cpus * PERIOD_US))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

"""Control groups of the unified hierarchy, by which systemd knows what belongs to a unit and holds it to limits."""

from pathlib import Path
from typing import Final

_MOUNTS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_ENTER: Final = 'echo "$$" >"$0" 2>/dev/null; exec "$@"'


def controllers() -> frozenset[str]:
    """Those that can hold a unit to a limit; empty where the machine has the older hierarchies."""
    try:
        return frozenset((_MOUNTS[0] / "cgroup.controllers").read_text().split())
    except OSError:
        return frozenset()


def entering(pid: int) -> list[str]:
    """What to put before a command that is to run in the group of `pid`; empty where that cannot be."""
    group = _group_of(pid)
    for mount in _MOUNTS:
        if group and (procs := mount / group.lstrip("/") / "cgroup.procs").exists():
            return ["/bin/sh", "-c", _ENTER, str(procs)]
    return []


def _group_of(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")

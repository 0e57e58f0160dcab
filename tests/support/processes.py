"""Looking at processes from outside, through /proc."""

from contextlib import suppress
from pathlib import Path


def command_line(pid: int) -> str:
    """Its words between blanks; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def descendants(pid: int) -> set[int]:
    """`pid` and everything below it, sandboxes included."""
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        found.add(one)
        with suppress(FileNotFoundError):  # it ended meanwhile
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                waiting += [int(child) for child in _text(task).split()]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether it runs; one that ended and was not yet waited for does not."""
    state = _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return bool(state) and state[0] not in "ZX"


def open_files(start: Path) -> list[str]:
    """Of this process: those whose names begin with this one's."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith(str(start))]


def still_alive(pids: set[int]) -> dict[int, str]:
    """Those of `pids` that run, with their command lines."""
    return {pid: command_line(pid) for pid in pids if alive(pid)}

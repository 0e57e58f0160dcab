"""What an earlier engine of this agent left running when its harness was killed: the commands that it had started.

A container's own pid namespace ends them with it; where there is none they would work on beside the turn that is run
again. They are known by their environment: nothing but an engine of this agent has the home that it was given.
"""

import os
import signal
from pathlib import Path

import structlog

log = structlog.get_logger()


def end_leftovers(home: Path) -> list[int]:
    """Kill every process of this user whose `HOME` is `home`; their pids."""
    marker = b"HOME=" + os.fsencode(home)
    pids = [int(name) for name in _names(Path("/proc")) if name.isdigit() and int(name) != os.getpid()]
    ended = [pid for pid in pids if _end_if_marked(pid, marker)]
    if ended:
        log.warning("leftovers of an earlier engine ended", pids=ended)
    return ended


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _end_if_marked(pid: int, marker: bytes) -> bool:
    """The handle is taken before the look, so that no other process can be hit that got the same pid since."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if marker not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True
